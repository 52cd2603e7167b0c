use std::fs;

use serde_json::json;

use super::*;

/// A folder of files that are never loaded, only read about.
fn folder(files: &[(&str, Value)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, value) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, value.to_string()).unwrap();
    }
    dir
}

const WHOLE: [&str; 2] = ["tokenizer.json", "model.onnx"];

fn limit(files: &[(&str, Value)]) -> usize {
    let whole = WHOLE.map(|name| (name, json!({})));
    let dir = folder(&[&whole, files].concat());
    Folder::open(dir.path()).unwrap().input_tokens_max
}

#[test]
fn the_limit_is_the_sentence_models_own_within_the_positions_there_are() {
    let roberta =
        json!({"model_type": "roberta", "max_position_embeddings": 514, "pad_token_id": 1});
    let bert = json!({"model_type": "bert", "max_position_embeddings": 512, "pad_token_id": 0});
    let says = |tokens: usize| json!({"max_seq_length": tokens});
    assert_eq!(
        limit(&[("config.json", roberta.clone())]),
        512,
        "two positions lie before the first token"
    );
    assert_eq!(
        limit(&[
            ("config.json", roberta.clone()),
            ("sentence_bert_config.json", says(514))
        ]),
        512
    );
    assert_eq!(
        limit(&[
            ("config.json", roberta.clone()),
            ("sentence_roberta_config.json", says(128))
        ]),
        128
    );
    assert_eq!(limit(&[("config.json", bert.clone())]), 512);
    assert_eq!(
        limit(&[
            ("config.json", bert.clone()),
            ("sentence_bert_config.json", says(256))
        ]),
        256
    );
    let tokenizer = |tokens: Value| ("tokenizer_config.json", json!({"model_max_length": tokens}));
    assert_eq!(
        limit(&[("config.json", bert.clone()), tokenizer(json!(384))]),
        384
    );
    assert_eq!(
        limit(&[("config.json", roberta), tokenizer(json!(1e30))]),
        512,
        "10³⁰ is no limit"
    );
    assert_eq!(
        limit(&[
            ("config.json", bert),
            ("sentence_bert_config.json", json!({"max_seq_length": null}))
        ]),
        512
    );
    assert_eq!(limit(&[]), 512);
}

#[test]
fn a_missing_file_is_named_with_what_to_do() {
    for missing in WHOLE {
        let files: Vec<_> = WHOLE
            .iter()
            .filter(|name| **name != missing)
            .map(|name| (*name, json!({})))
            .collect();
        let dir = folder(&files);
        let said = Folder::open(dir.path()).err().unwrap().to_string();
        let expected = dir.path().join(missing);
        assert!(
            said.starts_with(&format!("{}: not found", expected.display())),
            "{said}"
        );
        assert!(
            said.contains("save_pretrained") || said.contains("optimum-cli"),
            "{said}"
        );
    }
    let said = Folder::open(Path::new("/no/such/folder"))
        .err()
        .unwrap()
        .to_string();
    assert!(
        said.contains("/no/such/folder: not found; name a sentence-transformers folder"),
        "{said}"
    );
    let pooling = json!([{"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}]);
    let dir = folder(&[("modules.json", pooling)]);
    let said = Folder::open(dir.path()).err().unwrap().to_string();
    assert!(
        said.contains("1_Pooling/config.json: not found; modules.json names it"),
        "{said}"
    );
}

#[test]
fn a_file_that_is_not_what_it_should_be_is_named() {
    let dir = folder(&WHOLE.map(|name| (name, json!({}))));
    fs::write(dir.path().join("config.json"), "{\"a\":").unwrap();
    let said = Folder::open(dir.path()).err().unwrap().to_string();
    assert!(said.contains("config.json: is not JSON: EOF"), "{said}");
    let dir = folder(&[("modules.json", json!({}))]);
    let said = Folder::open(dir.path()).err().unwrap().to_string();
    assert!(said.contains("modules.json: is not a list"), "{said}");
}

#[test]
fn the_graph_is_found_where_exports_put_it() {
    let graph = |files: &[&str]| {
        let files: Vec<_> = files
            .iter()
            .chain(&["tokenizer.json"])
            .map(|name| (*name, json!({})))
            .collect();
        let dir = folder(&files);
        Folder::open(dir.path()).map(|folder| {
            folder
                .graph
                .path()
                .strip_prefix(dir.path())
                .unwrap()
                .to_owned()
        })
    };
    assert_eq!(
        graph(&["model.onnx", "onnx/model.onnx"]).unwrap(),
        Path::new("model.onnx")
    );
    assert_eq!(
        graph(&["onnx/model.onnx", "onnx/model_quantized.onnx"]).unwrap(),
        Path::new("onnx/model.onnx")
    );
    assert_eq!(
        graph(&["onnx/model_quantized.onnx"]).unwrap(),
        Path::new("onnx/model_quantized.onnx")
    );
    let said = graph(&["onnx/a.onnx", "onnx/b.onnx"])
        .err()
        .unwrap()
        .to_string();
    assert!(
        said.contains("several graphs [\"a.onnx\", \"b.onnx\"]"),
        "{said}"
    );
}

#[test]
fn an_old_layout_with_a_folder_for_the_transformer_is_read() {
    let modules = json!([
        {"path": "0_Transformer", "type": "sentence_transformers.models.Transformer"},
        {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
    ]);
    let dir = folder(&[
        ("modules.json", modules),
        ("0_Transformer/tokenizer.json", json!({})),
        (
            "0_Transformer/sentence_bert_config.json",
            json!({"max_seq_length": 77}),
        ),
        (
            "1_Pooling/config.json",
            json!({"pooling_mode_cls_token": true}),
        ),
        ("onnx/model.onnx", json!({})),
    ]);
    let folder = Folder::open(dir.path()).unwrap();
    assert_eq!(
        (folder.input_tokens_max, folder.pooling.to_string()),
        (77, "cls".to_owned())
    );
    assert_eq!(folder.steps_in_graph, Vec::<String>::new());
    assert_eq!(
        folder.name,
        dir.path().file_name().unwrap().to_string_lossy()
    );
}
