//! What a model is called: its name and a hash of everything that decides a vector.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::ModelError;
use super::folder::{Folder, Graph};

/// `name@` and 32 hexadecimal digits.
pub(crate) fn of(
    folder: &Folder,
    tokenizer_id: &str,
    input_tokens_max: usize,
) -> Result<String, ModelError> {
    let mut hasher = blake3::Hasher::new_derive_key("floodmark 2026 model");
    match &folder.graph {
        Graph::BuiltIn(bytes) => {
            hasher.update(blake3::hash(bytes).as_bytes());
        }
        Graph::File(path) => {
            let (hash, weights) = hash_graph(path)?;
            hasher.update(hash.as_bytes());
            for name in weights {
                let beside = path.with_file_name(&name);
                if !beside.is_file() {
                    let advice = format!(
                        "the weights of {} are in it; copy both together",
                        path.display()
                    );
                    return Err(ModelError::Missing {
                        path: beside,
                        advice,
                    });
                }
                hasher.update(hash_graph(&beside)?.0.as_bytes());
            }
        }
    }
    let parts = [
        tokenizer_id,
        &folder.pooling.to_string(),
        &folder.steps_in_graph.join("+"),
    ];
    for part in parts {
        hasher
            .update(&(part.len() as u64).to_le_bytes())
            .update(part.as_bytes());
    }
    hasher.update(&(input_tokens_max as u64).to_le_bytes());
    let name: String = folder
        .name
        .chars()
        .map(|c| {
            if c.is_whitespace() || c.is_control() || c == '@' {
                '-'
            } else {
                c
            }
        })
        .collect();
    Ok(format!("{name}@{}", &hasher.finalize().to_hex()[..32]))
}

/// The hash of a file, and the files in which an ONNX graph says that its weights are.
///
/// A tensor outside of the graph carries the pair `location` → file name (onnx.proto, `TensorProto.external_data`).
/// The pair has one serialised form, which is looked for while hashing: reading gigabytes once is enough.
fn hash_graph(path: &Path) -> Result<(blake3::Hash, BTreeSet<String>), ModelError> {
    const WINDOW: usize = 1 << 20;
    /// Marker, length byte, and a name of up to 127 bytes.
    const OVERLAP: usize = MARKER.len() + 128;
    const MARKER: &[u8] = b"\x0a\x08location\x12";
    let failed = |source| ModelError::Read {
        path: path.to_owned(),
        source,
    };
    let mut file = File::open(path).map_err(failed)?;
    let (mut hasher, mut names, mut window) = (blake3::Hasher::new(), BTreeSet::new(), Vec::new());
    loop {
        let kept = window.len().min(OVERLAP);
        window.drain(..window.len() - kept);
        let read = (&mut file)
            .take(WINDOW as u64)
            .read_to_end(&mut window)
            .map_err(failed)?;
        if read == 0 {
            return Ok((hasher.finalize(), names));
        }
        hasher.update(&window[kept..]);
        for at in positions(&window, MARKER) {
            let rest = &window[at + MARKER.len()..];
            if let Some((&length, name)) = rest.split_first()
                && let Some(name) = name.get(..usize::from(length))
                && let Ok(name) = std::str::from_utf8(name)
                && !name.is_empty()
            {
                names.insert(name.to_owned());
            }
        }
    }
}

/// Where `needle` begins.
fn positions<'a>(haystack: &'a [u8], needle: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    let mut from = 0;
    std::iter::from_fn(move || {
        while let Some(step) = haystack[from..].iter().position(|byte| byte == &needle[0]) {
            let at = from + step;
            from = at + 1;
            if haystack[at..].starts_with(needle) {
                return Some(at);
            }
        }
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_beside_the_graph_are_found_wherever_the_window_ends() {
        let pair = b"\x0a\x08location\x12\x0fmodel.onnx_data";
        for before in [0, 7, (1 << 20) - 20, (1 << 20) - 5, (1 << 20) + 3] {
            let file = tempfile::NamedTempFile::new().unwrap();
            let mut bytes = vec![b'\x0a'; before];
            bytes.extend_from_slice(pair);
            bytes.extend_from_slice(b"\x0a\x06offset\x12\x010");
            std::fs::write(file.path(), &bytes).unwrap();
            let (hash, names) = hash_graph(file.path()).unwrap();
            assert_eq!(hash, blake3::hash(&bytes), "{before}");
            assert_eq!(
                names.into_iter().collect::<Vec<_>>(),
                ["model.onnx_data"],
                "{before}"
            );
        }
    }
}
