//! Prepares what FAISS is linked against, so that no BLAS and no shared OpenMP have to be installed or shipped:
//! docs/decisions/0004-faiss-static.md.
//!
//! FAISS's crate asks for `-lblas`, `-llapack` and `-lgomp`. The first two are empty archives (src/index/blas.rs has the
//! routines); the third is the compiler's own static OpenMP library, under the name that is asked for.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// Puts the three archives where the linker looks.
pub fn link(out: &Path) {
    for variable in ["CXX", "LIBOMP"] {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    if let Err(message) = prepare(out) {
        // Cargo shows this as the error; a panic's backtrace would bury it.
        println!("cargo::error={message}");
    }
}

fn prepare(out: &Path) -> Result<(), String> {
    for library in ["libblas.a", "liblapack.a"] {
        let archive = out.join(library);
        fs::write(&archive, b"!<arch>\n")
            .map_err(|e| format!("could not write {}: {e}", archive.display()))?;
    }
    let openmp = match env::var("CARGO_CFG_TARGET_OS").as_deref() {
        Ok("linux") => libgomp()?,
        Ok("macos") => libomp()?,
        other => {
            return Err(format!(
                "no static OpenMP library is known for {other:?}; Linux and macOS are"
            ));
        }
    };
    println!("cargo::rerun-if-changed={}", openmp.display());
    fs::copy(&openmp, out.join("libgomp.a"))
        .map_err(|e| format!("could not copy {}: {e}", openmp.display()))?;
    println!("cargo::rustc-link-search=native={}", out.display());
    Ok(())
}

/// GCC's OpenMP library. GCC answers with a bare name when it has none; clang has no static one of its own.
fn libgomp() -> Result<PathBuf, String> {
    let compiler = env::var("CXX").unwrap_or_else(|_| "c++".into());
    let path = ask(&compiler, &["-print-file-name=libgomp.a"]).map_err(|e| {
        format!("the C++ compiler {compiler:?} can't be run ({e}): install g++ (Debian, Ubuntu: apt-get install g++)")
    })?;
    if !path.is_absolute() || !path.is_file() {
        return Err(format!(
            "the C++ compiler {compiler:?} has no libgomp.a, which FAISS needs: install g++ (Debian, Ubuntu: apt-get \
             install g++; Fedora: dnf install gcc-c++ libgomp), and leave CXX unset or set it to g++"
        ));
    }
    Ok(path)
}

/// LLVM's OpenMP library, which Apple's compiler lacks and Homebrew has.
fn libomp() -> Result<PathBuf, String> {
    let advice = "install it (brew install libomp), or name the file libomp.a in LIBOMP";
    let path = match env::var_os("LIBOMP") {
        Some(path) => PathBuf::from(path),
        None => ask("brew", &["--prefix", "libomp"])
            .map_err(|e| {
                format!("OpenMP is needed and Homebrew can't be asked for it ({e}): {advice}")
            })?
            .join("lib/libomp.a"),
    };
    if path.is_file() {
        Ok(path)
    } else {
        Err(format!("there is no {}: {advice}", path.display()))
    }
}

/// The path that a program prints.
fn ask(program: &str, arguments: &[&str]) -> Result<PathBuf, String> {
    // A compiler may be given with a launcher before it: `ccache g++`.
    let mut words = program.split_whitespace();
    let output = Command::new(words.next().unwrap_or(program))
        .args(words)
        .args(arguments)
        .output()
        .map_err(|e| e.to_string())?;
    if !output.status.success() {
        return Err(output.status.to_string());
    }
    Ok(Path::new(String::from_utf8_lossy(&output.stdout).trim()).to_owned())
}
