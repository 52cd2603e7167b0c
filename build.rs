//! Prepares what FAISS links against, and packs ONNX Runtime into the program.

#[path = "build/faiss.rs"]
mod faiss;
#[path = "build/runtime.rs"]
mod runtime;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=build");
    let out = std::path::PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    faiss::link(&out);
    runtime::embed(&out);
}
