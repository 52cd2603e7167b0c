//! Does this processor have the instructions that the build was made of? Asked before the first of them is met: a line
//! that says so is worth more than "illegal instruction".

macro_rules! lacking {
    ($($feature:tt),*) => {{
        let mut lacking: Vec<&'static str> = Vec::new();
        $(if !std::arch::is_x86_feature_detected!($feature) {
            lacking.push($feature);
        })*
        lacking
    }};
}

/// What FAISS was compiled for (`build/faiss.cmake`: x86-64-v3) and this processor does not have.
pub fn lacking() -> Vec<&'static str> {
    #[cfg(target_arch = "x86_64")]
    return lacking!(
        "sse4.2", "popcnt", "avx", "avx2", "fma", "bmi1", "bmi2", "f16c", "lzcnt", "movbe"
    );
    #[cfg(not(target_arch = "x86_64"))]
    Vec::new()
}

/// What to say of it.
pub fn complaint(lacking: &[&str]) -> Option<String> {
    (!lacking.is_empty()).then(|| {
        format!(
            "this processor has no {}: the vector index of this build needs x86-64-v3 (AVX2 and FMA; Intel since 2013, AMD \
             since 2015); use another machine, let the virtual machine pass its host's processor through, or build without \
             the -march line of build/faiss.cmake",
            lacking.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lacking_is_named() {
        assert_eq!(complaint(&[]), None);
        let said = complaint(&["avx2", "fma"]).unwrap();
        assert!(
            said.starts_with("this processor has no avx2, fma:"),
            "{said}"
        );
    }
}
