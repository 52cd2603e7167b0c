//! Which format a file has: by its name, then by its look. What can't be read is told here, before anything is tried.

use std::path::Path;

use super::encoding::{is_binary, utf16};
use super::failure::failure;
use super::parse::binary;
use super::{Format, Language};
use crate::store::row::Failure;

/// The format of a file. `first_bytes` is its beginning; 8 KiB are enough, all of it is best.
///
/// # Errors
///
/// `unsupported` for a kind that is known and not read, `encrypted`, and `binary` for what is not text.
pub fn detect(path: &Path, first_bytes: &[u8]) -> Result<Format, Failure> {
    if is_encrypted(first_bytes) {
        let advice = "decrypt it, or exclude it";
        return Err(failure("encrypted", "the file is encrypted", advice));
    }
    let lower = |part: Option<&std::ffi::OsStr>| part.map(|p| p.to_string_lossy().to_lowercase());
    let extension = lower(path.extension()).unwrap_or_default();
    if let Some(kind) = unread(&extension).or_else(|| unread_look(first_bytes)) {
        return Err(unsupported(kind));
    }
    let format = by_extension(&extension)
        .or_else(|| by_name(&lower(path.file_name()).unwrap_or_default()))
        .unwrap_or_else(|| by_look(first_bytes));
    // JSON says better itself what is wrong with it.
    if !matches!(format, Format::Json | Format::Jsonl) && is_binary(first_bytes) {
        return Err(binary());
    }
    Ok(format)
}

fn by_extension(extension: &str) -> Option<Format> {
    Some(match extension {
        "json" | "geojson" => Format::Json,
        "jsonl" | "ndjson" | "jsonlines" | "ldjson" => Format::Jsonl,
        "csv" | "tsv" | "tab" => Format::Csv,
        "txt" | "text" | "log" | "rst" | "org" | "adoc" | "asciidoc" | "tex" | "srt" | "vtt"
        | "eml" => Format::Text,
        "md" | "markdown" | "mdown" | "mkd" | "mdx" => Format::Markdown,
        "html" | "htm" | "xhtml" => Format::Html,
        "rs" => Format::Code(Language::Rust),
        "py" | "pyi" | "pyw" => Format::Code(Language::Python),
        "js" | "jsx" | "mjs" | "cjs" => Format::Code(Language::JavaScript),
        "go" => Format::Code(Language::Go),
        "java" => Format::Code(Language::Java),
        "c" | "h" => Format::Code(Language::C),
        "ts" | "tsx" | "cc" | "cpp" | "cxx" | "hpp" | "hh" | "hxx" | "cs" | "rb" | "php"
        | "swift" | "kt" | "kts" | "scala" | "sh" | "bash" | "zsh" | "fish" | "ps1" | "sql"
        | "lua" | "pl" | "pm" | "r" | "jl" | "hs" | "ml" | "mli" | "ex" | "exs" | "erl" | "clj"
        | "cljs" | "dart" | "vue" | "svelte" | "zig" | "nim" | "groovy" | "gradle" | "toml"
        | "yaml" | "yml" | "ini" | "cfg" | "conf" | "proto" | "graphql" | "tf" | "cmake" | "mk"
        | "css" | "scss" | "less" => Format::Code(Language::Other),
        _ => return None,
    })
}

fn by_name(name: &str) -> Option<Format> {
    let is_code = matches!(
        name,
        "makefile" | "gnumakefile" | "dockerfile" | "rakefile" | "gemfile" | "justfile"
    );
    is_code.then_some(Format::Code(Language::Other))
}

fn by_look(bytes: &[u8]) -> Format {
    let look = bytes
        .strip_prefix(b"\xef\xbb\xbf")
        .unwrap_or(bytes)
        .trim_ascii_start();
    let begins = |tag: &[u8]| {
        look.get(..tag.len())
            .is_some_and(|head| head.eq_ignore_ascii_case(tag))
    };
    let shebang = || look.split(|b| *b == b'\n').next().unwrap_or_default();
    if begins(b"<!doctype html") || begins(b"<html") {
        Format::Html
    } else if !look.starts_with(b"#!") {
        Format::Text
    } else if shebang().windows(6).any(|w| w == b"python") {
        Format::Code(Language::Python)
    } else if shebang().windows(4).any(|w| w == b"node") {
        Format::Code(Language::JavaScript)
    } else {
        Format::Code(Language::Other)
    }
}

/// What a known extension that is not read stands for.
fn unread(extension: &str) -> Option<&'static str> {
    Some(match extension {
        "pdf" => "a PDF document",
        "doc" | "docx" | "docm" | "odt" | "rtf" | "pages" => "a word processor document",
        "xls" | "xlsx" | "xlsm" | "ods" | "numbers" => "a spreadsheet",
        "ppt" | "pptx" | "odp" | "key" => "a presentation",
        "epub" | "mobi" | "azw3" => "an electronic book",
        "msg" | "pst" => "an Outlook message",
        "zip" | "gz" | "tgz" | "bz2" | "xz" | "zst" | "7z" | "rar" | "tar" | "jar" => "an archive",
        "png" | "jpg" | "jpeg" | "gif" | "webp" | "bmp" | "tif" | "tiff" | "ico" | "heic" => {
            "an image"
        }
        "mp3" | "wav" | "flac" | "ogg" | "m4a" => "a sound file",
        "mp4" | "mov" | "mkv" | "avi" | "webm" => "a video",
        "parquet" | "arrow" | "avro" | "sqlite" | "db" => "a database file",
        _ => return None,
    })
}

fn unsupported(kind: &str) -> Failure {
    let advice = "convert it to text, Markdown or HTML, or exclude it";
    failure(
        "unsupported",
        format!("the file is {kind}, which is not read"),
        advice,
    )
}

fn has(bytes: &[u8], what: &[u8]) -> bool {
    bytes.windows(what.len()).any(|w| w == what)
}

fn is_encrypted(bytes: &[u8]) -> bool {
    match bytes {
        [b'%', b'P', b'D', b'F', ..] => has(bytes, b"/Encrypt"),
        // Office wraps what it encrypts in an OLE container with a stream of this name, in UTF-16.
        [0xd0, 0xcf, 0x11, 0xe0, ..] => {
            let name: Vec<u8> = "EncryptedPackage"
                .encode_utf16()
                .flat_map(u16::to_le_bytes)
                .collect();
            has(bytes, &name)
        }
        // The lowest bit of a ZIP entry's flags.
        [b'P', b'K', 3, 4, _, _, flags, ..] => flags & 1 == 1,
        _ => {
            bytes.starts_with(b"-----BEGIN PGP MESSAGE")
                || bytes.starts_with(b"age-encryption.org/")
        }
    }
}

/// What a file that is not text is by its first bytes, whatever it is called.
fn unread_look(bytes: &[u8]) -> Option<&'static str> {
    Some(match bytes {
        [b'%', b'P', b'D', b'F', ..] => "a PDF document",
        [0xd0, 0xcf, 0x11, 0xe0, ..] => "an old Office document",
        [b'P', b'K', 3 | 5, 4 | 6, ..] => "a ZIP archive or an Office document",
        [b'{', b'\\', b'r', b't', b'f', ..] => "a word processor document",
        [0x1f, 0x8b, ..]
        | [b'B', b'Z', b'h', ..]
        | [0xfd, b'7', b'z', ..]
        | [0x28, 0xb5, 0x2f, 0xfd, ..]
            if utf16(bytes).is_none() && is_binary(bytes) =>
        {
            "a compressed file"
        }
        [0x89, b'P', b'N', b'G', ..] | [0xff, 0xd8, 0xff, ..] | [b'G', b'I', b'F', b'8', ..] => {
            "an image"
        }
        [0x7f, b'E', b'L', b'F', ..] => "a program",
        [b'S', b'Q', b'L', b'i', b't', b'e', b' ', ..] if is_binary(bytes) => "a database file",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, bytes: &[u8], expect: Result<Format, &str>) {
        let found = detect(Path::new(name), bytes).map_err(|failure| failure.reason);
        assert_eq!(found, expect.map_err(str::to_owned), "{name}");
    }

    #[test]
    fn by_name_then_by_look() {
        check("a.JSONL", b"", Ok(Format::Jsonl));
        check("a.json", b"\xff\xfe\0\0", Ok(Format::Json));
        check("lib.rs", b"fn", Ok(Format::Code(Language::Rust)));
        check("Makefile", b"all:", Ok(Format::Code(Language::Other)));
        check(
            "run",
            b"#!/usr/bin/env python3\n",
            Ok(Format::Code(Language::Python)),
        );
        check("page", b"\n<!DOCTYPE HTML>", Ok(Format::Html));
        check("LICENSE", b"Permission", Ok(Format::Text));
        check("empty", b"", Ok(Format::Text));
        check("wide.txt", b"\xff\xfeh\0i\0", Ok(Format::Text));
    }

    #[test]
    fn what_is_not_text_is_told() {
        check("a.pdf", b"%PDF-1.7 ...", Err("unsupported"));
        check(
            "a.pdf",
            b"%PDF-1.7 trailer << /Encrypt 5 0 R >>",
            Err("encrypted"),
        );
        check("a.txt", b"PK\x03\x04\x14\0\x01\0", Err("encrypted"));
        check("a.docx", b"", Err("unsupported"));
        check("photo", b"\x89PNG\r\n", Err("unsupported"));
        check("blob", b"\0\x01\x02\x03\0\0\0\x05abc", Err("binary"));
        check("notes.txt", b"\0\x01\x02\x03\0\0\0\x05abc", Err("binary"));
    }
}
