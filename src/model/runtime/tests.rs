use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;

/// Accepts a file whose text is "good".
fn loads(path: &Path) -> Result<(), String> {
    match fs::read_to_string(path) {
        Ok(text) if text == "good" => Ok(()),
        Ok(_) => Err("not a library".to_owned()),
        Err(e) => Err(e.to_string()),
    }
}

/// A source tree with a target folder, an executable in it, and the files that a test wants.
fn tree(files: &[(&str, &str)]) -> (tempfile::TempDir, Places) {
    let dir = tempfile::tempdir().unwrap();
    let executable = dir.path().join("target/release/floodmark");
    for (path, text) in files.iter().chain(&[("target/release/floodmark", "")]) {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let places = Places {
        executable: Some(executable),
        ..Places::default()
    };
    (dir, places)
}

const BESIDE: &str = "target/release/libonnxruntime.so";
const SET_UP: &str = ".runtime/libonnxruntime.so.1.31.1";

#[test]
fn the_first_place_that_has_it_wins() {
    let found = |files: &[(&str, &str)]| {
        let (dir, places) = tree(files);
        places.search(loads).map(|(path, ())| {
            path.strip_prefix(dir.path())
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned()
        })
    };
    assert_eq!(
        found(&[(BESIDE, "good"), (SET_UP, "good")]).unwrap(),
        BESIDE
    );
    assert_eq!(
        found(&[(BESIDE, "bad"), (SET_UP, "good")]).unwrap(),
        SET_UP,
        "goes on where one does not load"
    );
    let newer = [
        (".runtime/libonnxruntime.so.1.9.0", "good"),
        (".runtime/libonnxruntime.so.1.30.0", "good"),
    ];
    assert_eq!(found(&newer).unwrap(), ".runtime/libonnxruntime.so.1.30.0");
    found(&[(".runtime/libonnxruntime_providers_shared.so", "good")])
        .expect_err("a provider is not the runtime");
}

#[test]
fn who_names_a_library_gets_that_one_or_an_error() {
    let (dir, mut places) = tree(&[(BESIDE, "good"), ("mine.so", "bad")]);
    places.named = Some((dir.path().join("mine.so"), "ORT_DYLIB_PATH"));
    let said = places.search(loads).unwrap_err().to_string();
    assert!(
        said.contains("mine.so: named by ORT_DYLIB_PATH") && said.contains("not a library"),
        "{said}"
    );
}

#[test]
fn when_it_is_nowhere_the_error_lists_every_place_and_says_what_to_do() {
    let (dir, mut places) = tree(&[(BESIDE, "bad")]);
    places.system = &["libonnxruntime-of-nobody.so"];
    let said = places.search(loads).unwrap_err().to_string();
    for expected in [
        dir.path().join(BESIDE).to_str().unwrap(),
        "not a library",
        dir.path().join(".runtime").to_str().unwrap(),
        "inside the binary: this build carries none",
        "system, libonnxruntime-of-nobody.so",
        "make setup",
        "ORT_DYLIB_PATH",
    ] {
        assert!(said.contains(expected), "{expected} is missing in: {said}");
    }
}

#[test]
fn a_library_that_anybody_could_have_written_is_not_loaded() {
    let (dir, places) = tree(&[(BESIDE, "good")]);
    let mode =
        |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    mode(&dir.path().join(BESIDE), 0o666);
    let said = places.search(loads).unwrap_err().to_string();
    assert!(said.contains("every user could have changed it"), "{said}");
    mode(&dir.path().join(BESIDE), 0o644);
    mode(&dir.path().join("target/release"), 0o777);
    assert!(
        places.search(loads).is_err(),
        "in a folder where anybody may replace it"
    );
    mode(&dir.path().join("target/release"), 0o755);
    assert!(places.search(loads).is_ok());
}

#[test]
fn the_copy_inside_the_binary_comes_after_the_folders_and_before_the_system() {
    let (dir, mut places) = tree(&[]);
    let zstd = zstd::stream::encode_all(&b"good"[..], 0).unwrap();
    places.packed = Some(Packed {
        zstd: Box::leak(zstd.into_boxed_slice()),
        blake3: Box::leak(blake3::hash(b"good").to_hex().to_string().into_boxed_str()),
    });
    places.cache = Some(dir.path().join("cache"));
    let (path, ()) = places.search(loads).unwrap();
    assert!(
        path.starts_with(dir.path().join("cache/floodmark")),
        "{}",
        path.display()
    );
    places.cache = None;
    let said = places.search(loads).unwrap_err().to_string();
    assert!(
        said.contains("neither XDG_CACHE_HOME nor HOME is set"),
        "{said}"
    );
}
