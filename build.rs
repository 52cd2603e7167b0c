//! Prepares what FAISS links against, and packs ONNX Runtime into the program.

use std::path::PathBuf;

#[path = "build/runtime.rs"]
mod runtime;

fn main() {
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    faiss(&out);
    runtime::embed(&out);
}

/// FAISS asks its linker for a BLAS, a LAPACK and an OpenMP: two empty archives, and the compiler's own static libgomp.
fn faiss(out: &std::path::Path) {
    for library in ["libblas.a", "liblapack.a"] {
        std::fs::write(out.join(library), b"!<arch>\n").expect("OUT_DIR is writable");
    }
    let gomp = std::process::Command::new("cc")
        .arg("-print-file-name=libgomp.a")
        .output()
        .expect("a C compiler");
    let gomp = String::from_utf8(gomp.stdout).expect("a path");
    std::fs::copy(gomp.trim(), out.join("libgomp.a")).expect("libgomp.a of the compiler");
    println!("cargo:rustc-link-search=native={}", out.display());
}
