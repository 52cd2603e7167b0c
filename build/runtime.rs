//! ONNX Runtime, which `scripts/setup` left in `.runtime/`, goes into the program, compressed.
//!
//! What the program is told, only with `cfg(embedded_runtime)`:
//!
//! | `env!` | |
//! |---|---|
//! | `EMBEDDED_RUNTIME_ZST` | path of the compressed library, for `include_bytes!` |
//! | `EMBEDDED_RUNTIME_FILE` | the library's own file name, `libonnxruntime.so.1.31.1` |
//! | `EMBEDDED_RUNTIME_BLAKE3` | of the uncompressed library, 64 hexadecimal digits |
//! | `EMBEDDED_RUNTIME_BYTES` | its uncompressed size |
//!
//! Without a library the build goes on: the program then looks for one where it runs.

use std::io::Write;
use std::path::{Path, PathBuf};

/// Level 19 takes half a minute once and is for what ships; a build while developing should not wait for it.
const LEVEL_RELEASE: i32 = 19;
const LEVEL_DEV: i32 = 1;
/// 32 MiB: the library is one window. A decoder takes up to 27 without being asked.
const WINDOW_LOG_RELEASE: u32 = 25;

/// Packs the library of the target's kind, once for each of its versions.
pub fn embed(out: &Path) {
    println!("cargo:rustc-check-cfg=cfg(embedded_runtime)");
    let var = |name: &str| std::env::var(name).unwrap_or_default();
    let folder = Path::new(&var("CARGO_MANIFEST_DIR")).join(".runtime");
    let foreign = var("HOST") != var("TARGET");
    let Some(library) = library_in(&folder, &var("CARGO_CFG_TARGET_OS")).filter(|_| !foreign)
    else {
        // The folder is in the repository, empty: the build runs again when something arrives in it.
        println!("cargo:rerun-if-changed={}", folder.display());
        println!(
            "cargo:warning=no ONNX Runtime for this target in .runtime/ (scripts/setup puts it there): \
             the program is built without one and will look for it where it runs"
        );
        return;
    };
    println!("cargo:rerun-if-changed={}", library.display());
    let bytes =
        std::fs::read(&library).unwrap_or_else(|error| panic!("{}: {error}", library.display()));
    let hash = blake3::hash(&bytes).to_hex();
    let release = var("PROFILE") == "release";
    let (level, window_log) = if release {
        (LEVEL_RELEASE, Some(WINDOW_LOG_RELEASE))
    } else {
        (LEVEL_DEV, None)
    };
    let packed = out.join(format!("{}-{level}.zst", &hash[..32]));
    if !packed.exists() {
        pack(&bytes, level, window_log, &packed)
            .unwrap_or_else(|error| panic!("{}: {error}", packed.display()));
    }
    let file = library.file_name().unwrap_or_default().to_string_lossy();
    println!("cargo:rustc-cfg=embedded_runtime");
    println!("cargo:rustc-env=EMBEDDED_RUNTIME_ZST={}", packed.display());
    println!("cargo:rustc-env=EMBEDDED_RUNTIME_FILE={file}");
    println!("cargo:rustc-env=EMBEDDED_RUNTIME_BLAKE3={hash}");
    println!("cargo:rustc-env=EMBEDDED_RUNTIME_BYTES={}", bytes.len());
}

/// The newest by name; `scripts/setup` keeps one.
fn library_in(folder: &Path, target_os: &str) -> Option<PathBuf> {
    let kind = if target_os == "macos" {
        ".dylib"
    } else {
        ".so."
    };
    let files = std::fs::read_dir(folder)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()));
    files
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("libonnxruntime.") && name.contains(kind)
        })
        .max()
}

/// Under its name only when it is whole.
fn pack(bytes: &[u8], level: i32, window_log: Option<u32>, packed: &Path) -> std::io::Result<()> {
    let partial = packed.with_extension("partial");
    let mut encoder = zstd::Encoder::new(std::fs::File::create(&partial)?, level)?;
    encoder.include_checksum(true)?;
    if let Some(window_log) = window_log {
        encoder.window_log(window_log)?;
    }
    encoder.set_pledged_src_size(Some(bytes.len() as u64))?;
    encoder.write_all(bytes)?;
    encoder.finish()?.sync_all()?;
    std::fs::rename(partial, packed)
}
