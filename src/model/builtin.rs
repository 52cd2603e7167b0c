//! The model that is compiled into the binary: no download, no network, ever.
//!
//! sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0; after nreimers/MiniLM-L6-H384-uncased, MIT, Microsoft), in a
//! modified form: its weights are int8 with a scale for each column, its activations int8 with a scale for each token,
//! so that a text's vector does not depend on its neighbours. See NOTICE and docs/decisions/0003-default-model.md.

use super::ModelError;
use super::folder::{Files, Folder};

/// Name of the built-in model: what its key begins with.
pub const NAME: &str = "all-MiniLM-L6-v2-int8";

macro_rules! asset {
    ($name:literal) => {
        (
            $name,
            include_bytes!(concat!("../../assets/all-MiniLM-L6-v2/", $name)).as_slice(),
        )
    };
}

const FILES: &[(&str, &[u8])] = &[
    asset!("1_Pooling/config.json"),
    asset!("config.json"),
    asset!("model.onnx"),
    asset!("modules.json"),
    asset!("sentence_bert_config.json"),
    asset!("tokenizer.json"),
];

/// The built-in folder, read as any other.
pub(crate) fn folder() -> Result<Folder, ModelError> {
    Folder::read(NAME.to_owned(), Files::BuiltIn(FILES), None)
}
