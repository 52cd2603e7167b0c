//! Prepares what FAISS links against.

fn main() {
    println!("cargo::rustc-check-cfg=cfg(embedded_runtime)");
    let out = std::env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    for library in ["blas", "lapack"] {
        std::fs::write(format!("{out}/lib{library}.a"), b"!<arch>\n").expect("OUT_DIR is writable");
    }
    let gomp = std::process::Command::new("cc")
        .arg("-print-file-name=libgomp.a")
        .output()
        .expect("a C compiler");
    let gomp = String::from_utf8(gomp.stdout).expect("a path");
    std::fs::copy(gomp.trim(), format!("{out}/libgomp.a")).expect("libgomp.a of the compiler");
    println!("cargo:rustc-link-search=native={out}");
}
