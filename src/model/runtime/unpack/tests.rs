use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;

fn packed(bytes: &[u8]) -> Packed {
    Packed {
        zstd: Box::leak(
            zstd::stream::encode_all(bytes, 3)
                .unwrap()
                .into_boxed_slice(),
        ),
        blake3: Box::leak(blake3::hash(bytes).to_hex().to_string().into_boxed_str()),
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn it_is_unpacked_once_and_only_for_its_user() {
    let cache = tempfile::tempdir().unwrap();
    let packed = packed(b"a library");
    let first = unpack(&packed, cache.path()).unwrap();
    assert_eq!(fs::read(&first).unwrap(), b"a library");
    assert_eq!(
        (mode(first.parent().unwrap()), mode(&first) & 0o077),
        (0o700, 0)
    );
    let written = fs::metadata(&first).unwrap().ino();
    assert_eq!(unpack(&packed, cache.path()).unwrap(), first);
    assert_eq!(
        fs::metadata(&first).unwrap().ino(),
        written,
        "written again"
    );
    let other = unpack(&self::packed(b"another library"), cache.path()).unwrap();
    assert_ne!(
        other.parent(),
        first.parent(),
        "two versions stand side by side"
    );
}

#[test]
fn a_damaged_or_unfinished_library_is_replaced() {
    let cache = tempfile::tempdir().unwrap();
    let packed = packed(b"a library");
    let library = unpack(&packed, cache.path()).unwrap();
    for damage in [&b"a librarz"[..], b"a lib", b""] {
        fs::write(&library, damage).unwrap();
        fs::write(library.with_file_name("unfinished"), b"left by a crash").unwrap();
        assert_eq!(unpack(&packed, cache.path()).unwrap(), library);
        assert_eq!(fs::read(&library).unwrap(), b"a library");
        assert!(!library.with_file_name("unfinished").exists());
    }
}

#[test]
fn many_at_once_all_get_a_whole_library() {
    let cache = tempfile::tempdir().unwrap();
    let bytes: Vec<u8> = (0..3_000_000u32)
        .map(|k| (k.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    let packed = packed(&bytes);
    std::thread::scope(|scope| {
        let unpacking = || unpack(&packed, cache.path()).map(|path| fs::read(path).unwrap());
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(unpacking)).collect();
        for thread in threads {
            assert!(thread.join().unwrap().unwrap() == bytes);
        }
    });
}

#[test]
fn a_folder_that_others_may_write_to_is_refused() {
    let cache = tempfile::tempdir().unwrap();
    let packed = packed(b"a library");
    let library = unpack(&packed, cache.path()).unwrap();
    fs::set_permissions(library.parent().unwrap(), fs::Permissions::from_mode(0o777)).unwrap();
    let said = unpack(&packed, cache.path()).unwrap_err().to_string();
    assert!(
        said.contains("others may write to it (mode 777)") && said.contains("XDG_CACHE_HOME"),
        "{said}"
    );
}

#[test]
fn a_folder_that_cannot_be_made_is_an_error_that_names_it() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let said = unpack(&packed(b"a library"), file.path())
        .unwrap_err()
        .to_string();
    assert!(
        said.contains("floodmark: ") && said.contains("XDG_CACHE_HOME"),
        "{said}"
    );
}

#[test]
fn a_binary_that_is_damaged_does_not_unpack() {
    let cache = tempfile::tempdir().unwrap();
    let other = Packed {
        zstd: packed(b"another library").zstd,
        ..packed(b"a library")
    };
    let said = unpack(&other, cache.path()).unwrap_err().to_string();
    assert!(said.contains("other bytes than were packed"), "{said}");
    let torn = Packed {
        zstd: &packed(b"a library").zstd[..10],
        ..packed(b"a library")
    };
    assert!(unpack(&torn, cache.path()).is_err());
}
