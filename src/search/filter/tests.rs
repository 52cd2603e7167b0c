//! What filters mean, and what they say when they mean nothing.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::formats::Format;

/// 2026-03-10T00:00:00Z.
const NOW_NS: i128 = 1_773_100_800_000_000_000;
const DAY_NS: i64 = 86_400_000_000_000;

fn parse(expression: &str) -> Result<Filter, FilterError> {
    Filter::parse(&[expression.to_owned()], NOW_NS)
}

fn meta() -> Map<String, Value> {
    let value = json!({
        "year": 2021, "lang": "en", "tag": ["sea", "tide"], "doi": null, "draft": false, "pages": "12",
        "author": {"name": "Ines", "papers": [{"year": 1999}, {"year": 2003}]}, "path": "else",
        "posted": "2024-05-06", "weight.kg": 3.5, "empty": [], "and": 1,
    });
    value.as_object().unwrap().clone()
}

fn judge(expression: &str, with_document: bool) -> Option<bool> {
    let metadata = meta();
    let document = DocumentFacts {
        name: "rec-7",
        title: Some("High Water"),
        metadata: &metadata,
    };
    parse(expression)
        .unwrap_or_else(|error| panic!("{error}"))
        .judge(&Facts {
            root: Path::new("/data/raw"),
            path: Path::new("notes/2026/tide table.md"),
            format: "code/rust",
            changed_ns: Some(i64::try_from(NOW_NS).unwrap() - 2 * DAY_NS),
            since: 7,
            document: with_document.then_some(document),
        })
}

#[test]
fn each_test_passes_what_it_says() {
    for (expression, expect) in [
        ("year>=2020", true),
        ("year > 2021", false),
        ("year = 2021.0", true),
        ("year != 2021", false),
        ("lang=en", true),
        ("lang=\"EN\"", false),
        ("tag = tide", true),
        ("tag in (a, tide)", true),
        ("tag not in (a, b)", true),
        ("tag in ('sea')", true),
        ("exists tag", true),
        ("exists doi", false),
        ("exists empty", false),
        ("exists nothing", false),
        ("nothing = 1", false),
        ("nothing != 1", true),
        ("nothing < 1", false),
        ("draft = false", true),
        ("draft = no", false),
        ("pages > 9", true),
        ("pages < 100", true),
        ("author.name = Ines", true),
        ("author.papers.year = 2003", true),
        ("author.papers.year > 2003", false),
        ("exists author", true),
        ("author = Ines", false),
        ("posted >= 2024-05-01 and posted < 2024-06", true),
        ("\"weight.kg\" < 4", true),
        ("weight.kg < 4", false),
        ("path ~ *.md", true),
        ("path ~ \"tide *\"", true),
        ("path ~ 'notes/**'", true),
        ("path ~ 'notes/*'", false),
        ("path ~ notes/", true),
        ("path ~ 'no/**'", false),
        ("path ~ '2026/**'", false),
        ("path ~ '**/2026/*.md'", true),
        ("path ~ '/data/**/*.md'", true),
        ("path ~ '/notes/**'", false),
        ("path ~ '*.{rs,md}'", true),
        ("path = 'notes/2026/tide table.md'", true),
        ("path = '/data/raw/notes/2026/tide table.md'", true),
        ("path != 'tide table.md'", true),
        ("meta.path = else", true),
        ("lang ~ 'e?'", true),
        ("year ~ '20*'", true),
        ("format = code", true),
        ("format = code/rust", true),
        ("format in (markdown, code/python)", false),
        ("changed >= 2d", true),
        ("changed > 2d", false),
        ("changed >= 36h", false),
        ("changed < 2026-03-09", true),
        ("changed >= 2026-03-08T00:00:00Z", true),
        ("changed > 2026-03-08T00:00:00Z", false),
        ("changed >= 2026-03-08T01:30:00+02:00", true),
        ("epoch >= 7 and epoch <= 7", true),
        ("epoch > 7", false),
        ("document = rec-7", true),
        ("title ~ 'High*'", true),
        ("not year = 2020 and not (lang = de or lang = fr)", true),
        ("!(year = 2021) || lang == en && tag = sea", true),
        ("lang = de or lang = fr or year = 2021", true),
        ("lang = de and year = 2021 or year = 2021", true),
        ("year = 2021 AND NOT lang = de", true),
        ("\"and\" = 1", true),
        ("exists = 1", false),
        ("not exists doi", true),
    ] {
        assert_eq!(judge(expression, true), Some(expect), "{expression}");
    }
}

#[test]
fn a_file_is_decided_without_its_documents_where_it_can_be() {
    for (expression, expect) in [
        ("path ~ *.rs and year = 2021", Some(false)),
        ("path ~ *.md or year = 2021", Some(true)),
        ("path ~ *.md and year = 2021", None),
        ("year = 2021 and path ~ *.rs", Some(false)),
        ("not (path ~ *.md or year = 2021)", Some(false)),
        ("exists title", None),
        ("format = code", Some(true)),
    ] {
        assert_eq!(judge(expression, false), expect, "{expression}");
    }
}

#[test]
fn several_expressions_must_all_pass_and_none_lets_everything_through() {
    let facts = Facts {
        root: Path::new("/r"),
        path: Path::new("a.md"),
        format: "markdown",
        changed_ns: None,
        since: 1,
        document: None,
    };
    let both = |a: &str, b: &str| {
        let filter = Filter::parse(&[a.to_owned(), b.to_owned()], NOW_NS).unwrap();
        filter.judge(&facts)
    };
    assert_eq!(both("path ~ a.*", "format = markdown"), Some(true));
    assert_eq!(both("path ~ a.*", "format = text"), Some(false));
    assert_eq!(
        both("path ~ a.*", "changed < 1d"),
        Some(false),
        "not known is no time"
    );
    assert_eq!(
        Filter::parse(&[], NOW_NS).unwrap().judge(&facts),
        Some(true)
    );
}

#[test]
fn what_counts_back_from_now_says_so() {
    assert!(parse("changed > 2d").unwrap().is_relative());
    assert!(
        !parse("changed > 2026-01-01 and year > 2")
            .unwrap()
            .is_relative()
    );
    assert!(!parse("age = 2d").unwrap().is_relative());
}

#[test]
fn a_slip_is_named_with_its_place() {
    for (expression, at, says) in [
        ("", 0, "the name of a field"),
        ("year", 4, "a comparison should stand here"),
        ("year >=", 7, "a value should stand here"),
        ("year >= and lang = en", 8, "a value should stand here"),
        ("year >= 2020 or", 15, "the name of a field"),
        ("year > 2 lang = en", 9, "here it should end"),
        ("tag in a, b", 7, "parentheses"),
        ("tag in (a b)", 10, "a comma or a closing"),
        ("tag in ()", 8, "a value should stand here"),
        ("(year > 2", 9, "a closing parenthesis is missing"),
        ("title = \"high", 8, "this quote has no end"),
        ("title = 'high\\'", 8, "this quote has no end"),
        ("path ~ 'a[b'", 7, "this is no glob"),
        ("path < b", 5, "a path is compared by"),
        ("changed > yesterday", 10, "\"yesterday\" is no time"),
        ("changed > 2", 10, "\"2\" is no time"),
        (
            "changed > 99999999999999999999999999999999999999d",
            10,
            "is no time",
        ),
        ("changed ~ '2*'", 8, "matches no glob"),
        ("epoch > x", 8, "\"x\" is no number"),
        (
            "format = md",
            9,
            "no file is read as \"md\"; the formats are json,",
        ),
        ("year ≥ 2020", 5, "a comparison should stand here"),
        ("a..b = 1", 0, "empty name between its dots"),
        ("exists", 6, "a comparison should stand here"),
        ("not", 3, "the name of a field"),
        ("a = b or", 8, "the name of a field"),
    ] {
        let error = parse(expression).expect_err(expression);
        assert!(error.message.contains(says), "{expression}: {error}");
        assert_eq!(error.at, at, "{error}");
    }
    let error = parse("lang = en and\n(year").unwrap_err().to_string();
    assert_eq!(
        error,
        "the filter can't be understood at character 20: a comparison should stand here: =, !=, <, <=, >, >=, ~ (a glob), \
         in (…)\n  lang = en and (year\n                     ^"
    );
    assert!(
        parse(&"(".repeat(100_000))
            .unwrap_err()
            .message
            .contains("deeper")
    );
    assert!(
        parse(&"not ".repeat(100_000))
            .unwrap_err()
            .message
            .contains("deeper")
    );
}

#[test]
fn every_format_has_its_name() {
    for language in ["rust", "python", "java-script", "go", "java", "c", "other"] {
        let name = format!("code/{language}");
        assert!(parse::FORMATS.contains(&name.as_str()));
        serde_json::from_value::<Format>(json!({"code": language})).expect(language);
    }
    for name in parse::FORMATS
        .iter()
        .filter(|name| !name.starts_with("code"))
    {
        serde_json::from_value::<Format>(json!(name)).expect(name);
    }
}

proptest! {
    #[test]
    fn whatever_is_typed_is_understood_or_refused(text in "[a-c.=!<>~()\"'\\\\, \u{7}é]{0,24}|.{0,24}") {
        if let Err(error) = parse(&text) {
            prop_assert!(error.at <= text.chars().count(), "{error}");
            prop_assert!(!error.message.is_empty());
        }
    }

    #[test]
    fn what_is_quoted_is_compared_as_it_is(value in ".{1,12}") {
        let mut metadata = Map::new();
        metadata.insert("field".into(), Value::String(value.clone()));
        let facts = Facts {
            root: Path::new("/"),
            path: Path::new("a"),
            format: "text",
            changed_ns: None,
            since: 0,
            document: Some(DocumentFacts { name: "0", title: None, metadata: &metadata }),
        };
        let filter = parse(&format!("field = {}", quoted(&value))).unwrap();
        prop_assert_eq!(filter.judge(&facts), Some(true));
    }
}
