//! Nothing is reported to anybody, whatever the environment says.

use std::process::Command;

/// ONNX Runtime writes a device id below HOME before it reports for the first time.
#[test]
fn a_search_leaves_nothing_of_onnx_runtimes_telemetry_behind() {
    let folder = tempfile::tempdir().unwrap();
    let (home, input) = (folder.path().join("home"), folder.path().join("in"));
    std::fs::create_dir_all(&home).unwrap();
    std::fs::create_dir_all(&input).unwrap();
    std::fs::write(input.join("a.txt"), "The tide comes in at six.").unwrap();
    let run = Command::new(env!("CARGO_BIN_EXE_floodmark"))
        .args(["run", "--once", "--log", "warn", "--input"])
        .arg(&input)
        .arg("--state")
        .arg(folder.path().join("state"))
        .env_remove("ORT_DISABLE_TELEMETRY")
        .env_remove("XDG_CACHE_HOME")
        .env("HOME", &home)
        .output()
        .unwrap();
    assert!(
        run.status.success(),
        "{}",
        String::from_utf8_lossy(&run.stderr)
    );
    let foreign: Vec<_> = walk(&home)
        .into_iter()
        .filter(|path| !path.starts_with(home.join(".cache/floodmark")))
        .collect();
    assert!(foreign.is_empty(), "somebody wrote {foreign:?}");
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files.extend(walk(&path)),
            false => files.push(path),
        }
    }
    files
}
