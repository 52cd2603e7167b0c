//! The real model and tiny ones, through ONNX Runtime. Without the runtime these tests fail and say what to do.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde::Deserialize;
use serde_json::json;

use super::*;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// The built-in model on the processor, opened once.
pub(crate) fn builtin() -> &'static Model {
    static MODEL: OnceLock<Model> = OnceLock::new();
    MODEL.get_or_init(|| {
        let options = ModelOptions {
            device: Device::Cpu,
            ..ModelOptions::default()
        };
        Model::open(&options).unwrap_or_else(|e| panic!("{e}"))
    })
}

/// A folder around one of the tiny graphs, with files as a test wants them.
fn folder(graph: &str, files: &[(&str, serde_json::Value)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let tiny = fixtures().join("tiny_models");
    fs::copy(
        tiny.join(format!("{graph}.onnx")),
        dir.path().join("model.onnx"),
    )
    .unwrap();
    fs::copy(
        tiny.join("tokenizer.json"),
        dir.path().join("tokenizer.json"),
    )
    .unwrap();
    for (name, value) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, value.to_string()).unwrap();
    }
    dir
}

fn open(dir: &Path) -> Result<Model, ModelError> {
    Model::open(&ModelOptions {
        dir: Some(dir.to_owned()),
        device: Device::Cpu,
        ..ModelOptions::default()
    })
}

fn refusal(dir: &Path) -> String {
    open(dir)
        .expect_err("a model that must not open")
        .to_string()
}

fn modules(pooling: serde_json::Value) -> [(&'static str, serde_json::Value); 2] {
    let modules = json!([
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    ]);
    [
        ("modules.json", modules),
        ("1_Pooling/config.json", pooling),
    ]
}

fn bits(vector: &[f32]) -> Vec<u32> {
    vector.iter().map(|x| x.to_bits()).collect()
}

fn unit(vector: [f32; 4]) -> Vec<f32> {
    let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    vector.map(|x| x / length).to_vec()
}

fn check_vector(found: &[f32], expected: [f32; 4]) {
    let expected = unit(expected);
    let near = found.len() == 4
        && found
            .iter()
            .zip(&expected)
            .all(|(a, b)| (a - b).abs() < 1e-6);
    assert!(near, "{found:?}, expected {expected:?}");
}

#[derive(Deserialize)]
struct Reference {
    text: String,
    tokens: usize,
    vector: Vec<f32>,
}

fn references() -> Vec<Reference> {
    serde_json::from_slice(&fs::read(fixtures().join("reference_vectors.json")).unwrap()).unwrap()
}

#[test]
fn the_builtin_model_agrees_with_the_fp32_reference() {
    let mut session = builtin().session().unwrap();
    let references = references();
    let texts: Vec<&str> = references.iter().map(|r| r.text.as_str()).collect();
    let vectors = session.embed(&texts).unwrap();
    let cosines: Vec<f32> = (vectors.iter().zip(&references))
        .map(|(ours, theirs)| ours.iter().zip(&theirs.vector).map(|(a, b)| a * b).sum())
        .collect();
    let mean = cosines.iter().sum::<f32>() / cosines.len() as f32;
    let min = cosines.iter().copied().fold(f32::INFINITY, f32::min);
    println!("cosine to fp32: mean {mean:.5}, min {min:.5}");
    // measured: see docs/decisions/0003-default-model.md
    assert!(
        mean >= 0.998 && min >= 0.99,
        "mean {mean}, min {min}: {cosines:?}"
    );
}

#[test]
fn tokens_are_counted_as_the_reference_counts_them() {
    let model = builtin();
    assert_eq!(
        (
            model.max_input_tokens(),
            model.max_tokens(),
            model.dimension()
        ),
        (256, 254, 384)
    );
    for Reference { text, tokens, .. } in references() {
        assert_eq!(model.count_tokens(&text).unwrap(), tokens, "{text}");
        let uncut = model.token_ends(&text).len() + 2;
        let row = model.tokenize(&text).unwrap();
        assert_eq!(
            (row.len(), row.truncated()),
            (uncut.min(256), uncut > 256),
            "{text}"
        );
    }
}

#[test]
fn a_long_text_is_read_up_to_the_limit_and_no_further() {
    let model = builtin();
    let long = "the water rose and fell ".repeat(100_000);
    let row = model.tokenize(&long).unwrap();
    assert!(row.truncated() && row.len() == 256);
    let short = &long[..2000];
    assert_eq!(model.tokenize(short).unwrap().ids(), row.ids());
    // one word without an end is one unknown token, however long
    let word = "x".repeat(1 << 20);
    assert_eq!(
        (
            model.count_tokens(&word).unwrap(),
            model.tokenize(&word).unwrap().truncated()
        ),
        (3, false)
    );
}

#[test]
fn token_ends_lie_on_characters_and_reach_the_last_word() {
    let ends = |text| builtin().token_ends(text);
    assert_eq!(ends("high water mark"), [4, 10, 15]);
    assert_eq!(ends(""), Vec::<u32>::new());
    assert_eq!(ends("   "), Vec::<u32>::new());
    let text = "Über naïve 水位 🌊 ends";
    let found = ends(text);
    assert!(
        found.is_sorted() && found.iter().all(|&end| text.is_char_boundary(end as usize)),
        "{found:?}"
    );
    assert_eq!(*found.last().unwrap() as usize, text.len());
}

#[test]
fn an_empty_text_has_a_vector_and_no_texts_have_none() {
    let mut session = builtin().session().unwrap();
    assert_eq!(builtin().count_tokens("").unwrap(), 2);
    let vectors = session.embed(&[""]).unwrap();
    assert_eq!((vectors.len(), vectors[0].len()), (1, 384));
    assert!(session.embed(&[]).unwrap().is_empty());
}

/// Deterministic, so that a failure is the same failure again.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % n
    }

    fn text(&mut self, words: usize) -> String {
        const WORDS: [&str; 12] = [
            "river",
            "gauge",
            "fn",
            "的",
            "stone",
            "{}",
            "1904",
            "mud",
            "epoch",
            "überall",
            "naïve",
            "tidal-flat",
        ];
        (0..words)
            .map(|_| WORDS[self.below(WORDS.len())])
            .collect::<Vec<_>>()
            .join(" ")
    }
}

#[test]
fn a_vector_does_not_depend_on_its_batch() {
    let mut session = builtin().session().unwrap();
    let mut random = Random(41);
    // every short length, then around where kernels change their blocks: powers of two and the limit
    let lengths: Vec<usize> = (0..26)
        .chain([31, 32, 47, 62, 63, 64, 65, 94, 127, 190, 254, 300])
        .collect();
    let texts: Vec<String> = lengths.iter().map(|&words| random.text(words)).collect();
    let alone: Vec<Vec<u32>> = texts
        .iter()
        .map(|text| bits(&session.embed(&[text]).unwrap()[0]))
        .collect();
    for (at, (text, expected)) in texts.iter().zip(&alone).enumerate() {
        // padded a little, padded to the limit, and beside its likes
        let longer = if at % 9 == 0 {
            300
        } else {
            lengths[at] + 1 + at % 20
        };
        let padded = session.embed(&[text, &random.text(longer)]).unwrap();
        assert_eq!(
            &bits(&padded[0]),
            expected,
            "padded to {longer} words: {text}"
        );
        let twins = session.embed(&[text, text]).unwrap();
        assert!(
            twins.iter().all(|twin| &bits(twin) == expected),
            "twice the same: {text}"
        );
    }
    for rows in [3, 4, 5, 6, 7, 8, 9, 12, 13, 16, 17, 32, 33, 64] {
        let chosen: Vec<usize> = (0..rows).map(|_| random.below(26)).collect();
        let batch: Vec<&str> = chosen.iter().map(|&at| texts[at].as_str()).collect();
        for (vector, &at) in session.embed(&batch).unwrap().iter().zip(&chosen) {
            assert_eq!(
                bits(vector),
                alone[at],
                "in a batch of {rows}: {}",
                texts[at]
            );
        }
    }
    // another session, on another thread
    let elsewhere = std::thread::spawn(|| builtin().session().unwrap().embed(&["river"]).unwrap());
    assert_eq!(
        bits(&elsewhere.join().unwrap()[0]),
        bits(&session.embed(&["river"]).unwrap()[0])
    );
}

/// Who keeps token vectors gets the same vector, and the tokens that a second look would see, in whatever batch.
#[test]
fn a_vector_is_the_same_beside_those_of_its_tokens() {
    let model = builtin();
    let mut session = model.session().unwrap();
    let mut random = Random(43);
    let texts: Vec<String> = [3, 0, 17, 300, 1, 64, 5]
        .map(|words| random.text(words))
        .into();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let made = session.embed_with_tokens(&texts).unwrap();
    assert_eq!(made.len(), texts.len());
    for (text, (vector, tokens)) in texts.iter().zip(made) {
        let alone = session.embed(&[text]).unwrap();
        assert_eq!(bits(&vector), bits(&alone[0]), "{text}");
        let row = model.tokenize(text).unwrap();
        let all = session.token_vectors(&[&row]).unwrap().remove(0);
        let own = model.own_tokens(&row);
        assert_eq!(own.iter().filter(|own| !**own).count(), 2, "{text}");
        let own = all.rows().into_iter().zip(own).filter(|(_, own)| *own);
        let own: Vec<u32> = own
            .flat_map(|(row, _)| row.to_vec())
            .map(f32::to_bits)
            .collect();
        let tokens: Vec<u32> = tokens.unwrap().iter().map(|x| x.to_bits()).collect();
        assert_eq!(tokens, own, "{text}");
    }
}

#[test]
fn pooling_is_what_the_folder_says() {
    let check = |pooling, expected| {
        let model = open(folder("both", &modules(pooling)).path()).unwrap();
        // "high water": [1, 2, 3, 4], [4, -2, 1, 0]; beside it a longer text, so that there is padding
        let vectors = model
            .session()
            .unwrap()
            .embed(&["high water", "mark mark mark high"])
            .unwrap();
        check_vector(&vectors[0], expected);
    };
    check(
        json!({"pooling_mode_mean_tokens": true}),
        [2.5, 0.0, 2.0, 2.0],
    );
    check(
        json!({"pooling_mode_cls_token": true}),
        [1.0, 2.0, 3.0, 4.0],
    );
    check(
        json!({"pooling_mode_max_tokens": true}),
        [4.0, 2.0, 3.0, 4.0],
    );
    check(
        json!({"pooling_mode_lasttoken": true}),
        [4.0, -2.0, 1.0, 0.0],
    );
}

#[test]
fn a_graph_without_a_mask_gets_no_padding() {
    let model = open(folder("ids_only", &[]).path()).unwrap();
    let mut session = model.session().unwrap();
    let vectors = session
        .embed(&["high water", "mark", "high mark mark", "water"])
        .unwrap();
    for (vector, expected) in vectors.iter().zip([
        [5.0, 0.0, 4.0, 4.0],
        [0.0, 1.0, 0.0, -1.0],
        [1.0, 4.0, 3.0, 2.0],
        [4.0, -2.0, 1.0, 0.0],
    ]) {
        check_vector(vector, expected);
    }
}

#[test]
fn steps_that_only_the_graph_can_do_are_left_to_the_graph() {
    let dense = json!([
        {"path": "", "type": "sentence_transformers.models.Transformer"},
        {"path": "2_Dense", "type": "sentence_transformers.models.Dense"},
    ]);
    let model = open(folder("both", &[("modules.json", dense.clone())]).path()).unwrap();
    let mut session = model.session().unwrap();
    let vectors = session.embed(&["high water"]).unwrap();
    check_vector(&vectors[0], [4.0, 2.0, 3.0, 4.0]);
    // It shows no vectors of tokens, whatever else the graph could give.
    let made = session.embed_with_tokens(&["high water"]);
    let (vector, tokens) = made.unwrap().remove(0);
    check_vector(&vector, [4.0, 2.0, 3.0, 4.0]);
    assert_eq!(tokens, None);
    let refused = refusal(folder("ids_only", &[("modules.json", dense)]).path());
    assert!(
        refused.contains("asks for Dense") && refused.contains("sentence_embedding"),
        "{refused}"
    );
}

#[test]
fn bad_numbers_are_refused_and_named() {
    let model = open(folder("ids_only", &[]).path()).unwrap();
    let mut session = model.session().unwrap();
    let nan = session.embed(&["high", "high poison", "mark"]).unwrap_err();
    assert!(
        matches!(nan, EmbedError::NotFinite { index: 1, .. }),
        "{nan}"
    );
    let zero = session.embed(&["nothing"]).unwrap_err();
    assert!(
        matches!(zero, EmbedError::NotFinite { index: 0, .. }),
        "{zero}"
    );
    let empty = session.embed(&["high", ""]).unwrap_err();
    assert!(
        matches!(empty, EmbedError::NoTokens { index: 1 }),
        "{empty}"
    );
    // and the session goes on
    assert_eq!(session.embed(&["high"]).unwrap().len(), 1);
}

#[test]
fn a_graph_that_does_not_fit_is_refused_when_it_is_opened() {
    for (graph, expected) in [
        (
            "transposed",
            "has shape [2, 1, 4], where [1, 2, d] was expected",
        ),
        ("int32", "must be a tensor of int64"),
        ("positions", "wants an input position_ids"),
    ] {
        let refused = refusal(folder(graph, &[]).path());
        assert!(
            refused.contains(expected) && refused.contains("model.onnx"),
            "{graph}: {refused}"
        );
    }
    let dir = folder("ids_only", &[]);
    fs::write(dir.path().join("model.onnx"), b"not a graph").unwrap();
    let refused = refusal(dir.path());
    assert!(
        refused.contains("ONNX Runtime does not load this model"),
        "{refused}"
    );
}

#[test]
fn weights_beside_the_graph_are_loaded_hashed_and_missed() {
    let tiny = fixtures().join("tiny_models");
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("onnx")).unwrap();
    fs::copy(
        tiny.join("tokenizer.json"),
        dir.path().join("tokenizer.json"),
    )
    .unwrap();
    fs::copy(
        tiny.join("external.onnx"),
        dir.path().join("onnx/only.onnx"),
    )
    .unwrap();
    let refused = refusal(dir.path());
    assert!(
        refused.contains("external.onnx_data: not found"),
        "{refused}"
    );
    let weights = dir.path().join("onnx/external.onnx_data");
    let mut bytes = fs::read(tiny.join("external.onnx_data")).unwrap();
    fs::write(&weights, &bytes).unwrap();
    let model = open(dir.path()).unwrap();
    check_vector(
        &model.session().unwrap().embed(&["high"]).unwrap()[0],
        [1.0, 2.0, 3.0, 4.0],
    );
    assert_eq!(
        open(&dir.path().join("onnx/only.onnx")).unwrap().key(),
        model.key(),
        "named as a file"
    );
    bytes[40] ^= 1;
    fs::write(&weights, &bytes).unwrap();
    assert_ne!(open(dir.path()).unwrap().key(), model.key());
}

#[test]
fn the_key_changes_with_everything_that_changes_a_vector_and_with_nothing_else() {
    let key = |files: &[(&str, serde_json::Value)]| {
        let dir = folder("both", files);
        let named = dir.path().join("tiny model");
        fs::create_dir(&named).unwrap();
        for entry in fs::read_dir(dir.path())
            .unwrap()
            .flatten()
            .filter(|entry| entry.path() != named)
        {
            fs::rename(entry.path(), named.join(entry.file_name())).unwrap();
        }
        open(&named).unwrap().key().to_owned()
    };
    let mean = modules(json!({"pooling_mode_mean_tokens": true}));
    let base = key(&mean);
    let (name, hash) = base.split_once('@').unwrap();
    assert_eq!((name, hash.len()), ("tiny-model", 32));
    assert_eq!(key(&mean), base);
    assert_eq!(key(&[]), base, "the mean is the default");
    assert_ne!(key(&modules(json!({"pooling_mode_cls_token": true}))), base);
    let limit = |tokens: usize| json!({"max_seq_length": tokens});
    assert_ne!(key(&[("sentence_bert_config.json", limit(64))]), base);
    assert_eq!(
        key(&[("sentence_bert_config.json", limit(512))]),
        base,
        "512 is the default"
    );
    let lower = json!({"max_seq_length": 512, "do_lower_case": true});
    assert_ne!(key(&[("sentence_bert_config.json", lower)]), base);
    assert!(
        builtin().key().starts_with("all-MiniLM-L6-v2-int8@"),
        "{}",
        builtin().key()
    );
}

#[test]
fn the_limit_can_be_set_within_what_the_model_has_positions_for() {
    let dir = folder(
        "ids_only",
        &[("config.json", json!({"max_position_embeddings": 8}))],
    );
    let with = |max_tokens| {
        let dir = Some(dir.path().to_owned());
        Model::open(&ModelOptions {
            dir,
            max_tokens,
            device: Device::Cpu,
            ..ModelOptions::default()
        })
    };
    assert_eq!(with(None).unwrap().max_tokens(), 8);
    let three = with(Some(3)).unwrap();
    assert!(three.tokenize("high water mark high").unwrap().truncated());
    assert_eq!(three.count_tokens("high water mark high").unwrap(), 3);
    for asked in [0, 9] {
        let refused = with(Some(asked)).unwrap_err().to_string();
        assert!(
            refused.contains(&format!("{asked} tokens were asked for"))
                && refused.contains("1 to 8"),
            "{refused}"
        );
    }
}

#[test]
fn lower_case_keeps_byte_offsets() {
    let lower = json!({"max_seq_length": 16, "do_lower_case": true});
    let model = open(folder("ids_only", &[("sentence_bert_config.json", lower)]).path()).unwrap();
    assert_eq!(model.token_ends("HIGH Water"), [4, 10]);
    let mut session = model.session().unwrap();
    assert_eq!(
        session.embed(&["HIGH Water"]).unwrap(),
        session.embed(&["high water"]).unwrap()
    );
}

#[test]
fn a_device_that_is_not_there_gives_way_to_the_processor() {
    let dir = folder("ids_only", &[]);
    // Only a library that is loaded can be asked what it offers.
    open(dir.path()).unwrap();
    if Provider::Cuda.offered() || Provider::CoreMl.offered() {
        eprintln!(
            "SKIPPED: this ONNX Runtime has CUDA or CoreML, and what happens then depends on the machine"
        );
        return;
    }
    for device in [Device::Auto, Device::Cuda, Device::CoreMl] {
        let options = ModelOptions {
            dir: Some(dir.path().to_owned()),
            device,
            ..ModelOptions::default()
        };
        assert_eq!(
            Model::open(&options).unwrap().provider(),
            Provider::Cpu,
            "{device}"
        );
    }
}

#[test]
fn a_model_that_has_worked_before_is_loaded_when_it_is_needed() {
    let options = ModelOptions {
        device: Device::Cpu,
        ..ModelOptions::default()
    };
    let tried = builtin();
    let known = |key: &str| (key == tried.key()).then_some(tried.dimension());
    let model = Model::open_sparingly(&options, known).unwrap();
    assert!(model.0.first.lock().unwrap().is_none());
    assert_eq!(model.dimension(), tried.dimension());
    let text = "the ferry does not cross on Sundays";
    let later = model.session().unwrap().embed(&[text]).unwrap();
    let at_once = tried.session().unwrap().embed(&[text]).unwrap();
    assert_eq!(bits(&later[0]), bits(&at_once[0]));
    let other = Model::open_sparingly(&options, |_| None).unwrap();
    assert!(
        other.0.first.lock().unwrap().is_some(),
        "one that nobody knows is tried"
    );
}
