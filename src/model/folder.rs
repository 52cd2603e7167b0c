//! What a sentence-transformers folder says about its model.
//!
//! ```text
//! modules.json                  which steps there are, and in which folder each keeps its files
//! sentence_bert_config.json     max_seq_length, do_lower_case       (also found as sentence_roberta_config.json …)
//! config.json                   max_position_embeddings, model_type, pad_token_id
//! tokenizer.json                the tokenizer; tokenizer_config.json may bound its length
//! 1_Pooling/config.json         how token vectors become one
//! model.onnx, onnx/model.onnx   the graph, or the only *.onnx there is; weights may lie beside it
//! ```
//!
//! A folder without `modules.json` is a bare transformer: mean pooling, as sentence-transformers has it. `2_Normalize`
//! changes nothing, because vectors always get unit length here.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::pooling::Pooling;
use super::{ModelError, read};

/// Models whose position 0 is not the first token's: positions start behind the padding's own index.
const POSITIONS_AFTER_PADDING: [&str; 9] = [
    "roberta",
    "xlm-roberta",
    "xlm-roberta-xl",
    "roberta-prelayernorm",
    "camembert",
    "mpnet",
    "longformer",
    "data2vec-text",
    "xmod",
];

/// Names under which sentence-transformers has kept `max_seq_length`, newest first.
const LIMIT_FILES: [&str; 7] = [
    "sentence_bert_config.json",
    "sentence_roberta_config.json",
    "sentence_distilbert_config.json",
    "sentence_camembert_config.json",
    "sentence_albert_config.json",
    "sentence_xlm-roberta_config.json",
    "sentence_xlnet_config.json",
];

/// Where a folder's files are.
pub(crate) enum Files {
    Directory(PathBuf),
    BuiltIn(&'static [(&'static str, &'static [u8])]),
}

/// The graph itself.
pub(crate) enum Graph {
    /// A file, loaded from where it is, so that weights beside it are found.
    File(PathBuf),
    /// Compiled in.
    BuiltIn(&'static [u8]),
}

impl Graph {
    /// For messages.
    pub(crate) fn path(&self) -> PathBuf {
        match self {
            Self::File(path) => path.clone(),
            Self::BuiltIn(_) => PathBuf::from("(built in)/model.onnx"),
        }
    }
}

/// A folder, read and understood; nothing is loaded yet.
pub(crate) struct Folder {
    pub(crate) name: String,
    pub(crate) graph: Graph,
    pub(crate) tokenizer: Cow<'static, [u8]>,
    pub(crate) tokenizer_path: PathBuf,
    pub(crate) pooling: Pooling,
    /// Steps that only the graph itself can do; if there are any, it must offer `sentence_embedding`.
    pub(crate) steps_in_graph: Vec<String>,
    pub(crate) lowercase: bool,
    /// Tokens of one row, special tokens included.
    pub(crate) input_tokens_max: usize,
    /// Tokens that the model has positions for, if it says so.
    pub(crate) positions_max: Option<usize>,
    pub(crate) pad_id: Option<i64>,
}

impl Folder {
    /// A folder, or an `.onnx` file in a folder or in its `onnx/`.
    pub(crate) fn open(path: &Path) -> Result<Self, ModelError> {
        let missing = |advice: &str| ModelError::Missing {
            path: path.to_owned(),
            advice: advice.to_owned(),
        };
        let (dir, graph) = if path.is_dir() {
            (path, None)
        } else if path.is_file() && path.extension().is_some_and(|e| e == "onnx") {
            let dir = path.parent().ok_or_else(|| missing("name a folder"))?;
            let dir = if dir.ends_with("onnx") {
                dir.parent().unwrap_or(dir)
            } else {
                dir
            };
            (dir, Some(path.to_owned()))
        } else {
            return Err(missing(
                "name a sentence-transformers folder with an ONNX export, or an .onnx file in one",
            ));
        };
        let absolute = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
        let name = absolute
            .file_name()
            .map_or_else(|| "model".into(), |name| name.to_string_lossy());
        Self::read(name.into_owned(), Files::Directory(dir.to_owned()), graph)
    }

    /// Reads the folder's files. `graph`: an `.onnx` file that was named, instead of the one that would be found.
    pub(crate) fn read(
        name: String,
        files: Files,
        graph: Option<PathBuf>,
    ) -> Result<Self, ModelError> {
        let steps = Steps::read(&files)?;
        let beside = |file: &str| join(&steps.transformer, file);
        let limits = LIMIT_FILES
            .iter()
            .find_map(|file| files.json(&beside(file)).transpose())
            .transpose()?;
        let limits = limits.unwrap_or(Value::Null);
        let config = files.json(&beside("config.json"))?.unwrap_or(Value::Null);
        let tokenizer_config = files
            .json(&beside("tokenizer_config.json"))?
            .unwrap_or(Value::Null);
        let pad_id = config.get("pad_token_id").and_then(Value::as_i64);
        let positions_max = positions_max(&config, pad_id);
        let input_tokens_max = number(&limits, "max_seq_length")
            .or_else(|| {
                // written as 10³⁰ where there is no limit
                let tokenizers = number(&tokenizer_config, "model_max_length")
                    .filter(|&tokens| tokens < 1_000_000);
                [tokenizers, positions_max].into_iter().flatten().min()
            })
            .unwrap_or(512);
        let tokenizer_name = beside("tokenizer.json");
        let tokenizer = files.bytes(&tokenizer_name)?.ok_or_else(|| ModelError::Missing {
            path: files.path(&tokenizer_name),
            advice: "a model needs its tokenizer in this form: \
                     transformers.AutoTokenizer.from_pretrained(…, use_fast=True).save_pretrained(…) writes it"
                .to_owned(),
        })?;
        Ok(Self {
            name,
            graph: match graph {
                Some(file) => Graph::File(file),
                None => files.graph(&steps.transformer)?,
            },
            tokenizer,
            tokenizer_path: files.path(&tokenizer_name),
            pooling: steps.pooling,
            steps_in_graph: steps.unknown,
            lowercase: limits
                .get("do_lower_case")
                .and_then(Value::as_bool)
                .unwrap_or(false),
            input_tokens_max: positions_max.map_or(input_tokens_max, |positions| {
                input_tokens_max.min(positions)
            }),
            positions_max,
            pad_id,
        })
    }
}

/// What `modules.json` says.
struct Steps {
    transformer: String,
    pooling: Pooling,
    unknown: Vec<String>,
}

impl Steps {
    fn read(files: &Files) -> Result<Self, ModelError> {
        let mut steps = Self {
            transformer: String::new(),
            pooling: Pooling::default(),
            unknown: vec![],
        };
        let Some(modules) = files.json("modules.json")? else {
            return Ok(steps);
        };
        let invalid = |file: &str, reason: String| ModelError::Invalid {
            path: files.path(file),
            reason,
        };
        let modules = modules
            .as_array()
            .ok_or_else(|| invalid("modules.json", "is not a list".to_owned()))?;
        for module in modules {
            let text = |key| module.get(key).and_then(Value::as_str);
            let kind = text("type")
                .ok_or_else(|| invalid("modules.json", "a module has no \"type\"".to_owned()))?;
            let path = text("path").unwrap_or_default();
            match kind.rsplit('.').next().unwrap_or(kind) {
                "Transformer" => steps.transformer = path.to_owned(),
                "Normalize" => {}
                "Pooling" => {
                    let file = join(path, "config.json");
                    let config = files.json(&file)?.ok_or_else(|| ModelError::Missing {
                        path: files.path(&file),
                        advice: "modules.json names it; copy it from where the model came from"
                            .to_owned(),
                    })?;
                    steps.pooling =
                        Pooling::from_config(&config).map_err(|reason| invalid(&file, reason))?;
                }
                other => steps.unknown.push(other.to_owned()),
            }
        }
        Ok(steps)
    }
}

impl Files {
    fn path(&self, name: &str) -> PathBuf {
        match self {
            Self::Directory(dir) => dir.join(name),
            Self::BuiltIn(_) => Path::new("(built in)").join(name),
        }
    }

    fn bytes(&self, name: &str) -> Result<Option<Cow<'static, [u8]>>, ModelError> {
        match self {
            Self::Directory(dir) => {
                let path = dir.join(name);
                if path.try_exists().map_err(|source| ModelError::Read {
                    path: path.clone(),
                    source,
                })? {
                    read(&path).map(|bytes| Some(Cow::Owned(bytes)))
                } else {
                    Ok(None)
                }
            }
            Self::BuiltIn(files) => Ok(files
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, bytes)| Cow::Borrowed(*bytes))),
        }
    }

    fn json(&self, name: &str) -> Result<Option<Value>, ModelError> {
        let Some(bytes) = self.bytes(name)? else {
            return Ok(None);
        };
        serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|e| ModelError::Invalid {
                path: self.path(name),
                reason: format!("is not JSON: {e}"),
            })
    }

    fn graph(&self, transformer: &str) -> Result<Graph, ModelError> {
        let dir = match self {
            Self::BuiltIn(files) => {
                let bytes = files
                    .iter()
                    .find(|(name, _)| *name == "model.onnx")
                    .map_or(&[][..], |(_, bytes)| bytes);
                return Ok(Graph::BuiltIn(bytes));
            }
            Self::Directory(dir) => dir,
        };
        let homes = [
            dir.join(transformer),
            dir.join(transformer).join("onnx"),
            dir.clone(),
            dir.join("onnx"),
        ];
        let named = homes
            .iter()
            .map(|home| home.join("model.onnx"))
            .find(|file| file.is_file());
        if let Some(file) = named {
            return Ok(Graph::File(file));
        }
        for home in &homes {
            let mut found = onnx_files(home);
            match found.len() {
                0 => {}
                1 => return Ok(Graph::File(found.remove(0))),
                _ => {
                    let names: Vec<_> = found.iter().filter_map(|file| file.file_name()).collect();
                    return Err(ModelError::Invalid {
                        path: home.clone(),
                        reason: format!(
                            "has several graphs {names:?} and no model.onnx; name the one file to use"
                        ),
                    });
                }
            }
        }
        Err(ModelError::Missing {
            path: dir.join("model.onnx"),
            advice: "nor is there onnx/model.onnx or a single *.onnx; \
                     `optimum-cli export onnx --task feature-extraction` makes one from a PyTorch model"
                .to_owned(),
        })
    }
}

/// The `.onnx` files of a folder, sorted; none where there is no folder.
fn onnx_files(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    let mut files: Vec<_> = entries
        .filter(|path| path.is_file() && path.extension().is_some_and(|e| e == "onnx"))
        .collect();
    files.sort();
    files
}

fn join(folder: &str, file: &str) -> String {
    let folder = folder.trim_end_matches('/');
    if folder.is_empty() {
        file.to_owned()
    } else {
        format!("{folder}/{file}")
    }
}

fn number(config: &Value, key: &str) -> Option<usize> {
    config
        .get(key)
        .and_then(Value::as_u64)
        .and_then(|n| usize::try_from(n).ok())
}

fn positions_max(config: &Value, pad_id: Option<i64>) -> Option<usize> {
    let positions = number(config, "max_position_embeddings").filter(|&positions| positions > 0)?;
    let kind = config
        .get("model_type")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if POSITIONS_AFTER_PADDING.contains(&kind) {
        let before_the_first = usize::try_from(pad_id.unwrap_or(1)).ok()? + 1;
        Some(positions.saturating_sub(before_the_first))
    } else {
        Some(positions)
    }
}

#[cfg(test)]
mod tests;
