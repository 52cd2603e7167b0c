//! The four layers, and what each of them refuses.

use std::collections::BTreeSet;

use super::*;

/// Resolves a file's text, variables and flags as a person would give them.
fn resolve(
    file: Option<&str>,
    environment: &[(&str, &str)],
    flags: &[(&str, &str)],
) -> Result<Config, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("floodmark.toml");
    std::fs::write(&path, file.unwrap_or_default()).unwrap();
    let mut layers = Layers {
        config: Some(path),
        ..Layers::default()
    };
    layers.environment = environment
        .iter()
        .map(|(name, value)| (name.into(), value.into()))
        .collect();
    for (name, value) in flags {
        let key = keys()
            .find(|key| key.name == *name)
            .expect("a key of the table");
        layers.flags.push(key, (*value).to_owned());
    }
    let shown = folder.path().display().to_string() + "/";
    layers
        .resolve()
        .map_err(|error| error.to_string().replace(&shown, ""))
}

#[test]
fn a_later_layer_wins() {
    let file = Some("workers = 2");
    let environment: &[_] = &[("FLOODMARK_WORKERS", "3")];
    let flags: &[_] = &[("workers", "4")];
    for (file, environment, flags, expect, origin) in [
        (None, &[][..], &[][..], 1, "default"),
        (file, &[], &[], 2, "floodmark.toml:1"),
        (
            file,
            environment,
            &[],
            3,
            "environment variable FLOODMARK_WORKERS",
        ),
        (file, environment, flags, 4, "flag --workers"),
        (None, &[], flags, 4, "flag --workers"),
        (
            None,
            environment,
            &[],
            3,
            "environment variable FLOODMARK_WORKERS",
        ),
    ] {
        let config = resolve(file, environment, flags).unwrap();
        assert_eq!(config.workers, expect);
        let found = config.origin("workers").unwrap().to_string();
        assert!(found.ends_with(origin), "{found} for {origin}");
    }
}

#[test]
fn a_list_replaces_a_weaker_list() {
    let file = "[sources]\ninclude = [\"a\", \"b\"]";
    assert_eq!(resolve(Some(file), &[], &[]).unwrap().include, ["a", "b"]);
    let environment: &[_] = &[("FLOODMARK_INCLUDE", "c:*.{d,e}:")];
    assert_eq!(
        resolve(Some(file), environment, &[]).unwrap().include,
        ["c", "*.{d,e}"]
    );
    assert_eq!(
        resolve(
            Some(file),
            environment,
            &[("include", "f"), ("include", "g")]
        )
        .unwrap()
        .include,
        ["f", "g"]
    );
    assert!(
        resolve(Some(file), &[("FLOODMARK_INCLUDE", "")], &[])
            .unwrap()
            .include
            .is_empty()
    );
}

#[test]
fn what_is_not_allowed_is_named_with_its_place() {
    type Variables = &'static [(&'static str, &'static str)];
    let cases: &[(&str, Variables, &str)] = &[
        (
            "\n\nwrokers = 2",
            &[],
            "floodmark.toml:3: there is no setting \"wrokers\"; did you mean workers?",
        ),
        (
            "[chunks]\nworkers = 2",
            &[],
            "floodmark.toml:2: there is no setting \"[chunks] workers\"; workers stands above the first table",
        ),
        (
            "max-tokens = 2",
            &[],
            "floodmark.toml:1: there is no setting \"max-tokens\"; max-tokens belongs into [chunks]",
        ),
        (
            "[chunks]\nsize = 2",
            &[],
            "floodmark.toml:2: there is no setting \"[chunks] size\"; there are in [chunks]: max-tokens, overlap-tokens",
        ),
        (
            "[chunk]",
            &[],
            "floodmark.toml:1: there is no setting \"chunk\"; did you mean chunks?",
        ),
        (
            "\nworkers = 0",
            &[],
            "floodmark.toml:2: workers can't be \"0\"; allowed is a whole number from 1 to 256",
        ),
        (
            "workers = [1, 2]",
            &[],
            "floodmark.toml:1: workers takes one value, not 2",
        ),
        (
            "workers = 1979-05-27",
            &[],
            "floodmark.toml:1: workers can't be \"datetime\"; allowed is a whole number from 1 to 256",
        ),
        (
            "[sources]\nrescan = 300",
            &[],
            "floodmark.toml:2: [sources] rescan can't be \"300\"; allowed is a time with its unit (ms, s, m or h), such as 500ms or 5m",
        ),
        (
            "state = \"\"",
            &[],
            "floodmark.toml:1: state can't be \"\"; allowed is a path",
        ),
        (
            "[model]\ndevice = \"gpu\"",
            &[],
            "floodmark.toml:2: [model] device can't be \"gpu\"; allowed is auto, cuda, coreml, cpu",
        ),
        (
            "",
            &[("FLOODMARK_WORKRES", "2")],
            "environment variable FLOODMARK_WORKRES: there is no setting \"FLOODMARK_WORKRES\"; did you mean FLOODMARK_WORKERS?",
        ),
        (
            "",
            &[("FLOODMARK_ONCE", "maybe")],
            "environment variable FLOODMARK_ONCE: once can't be \"maybe\"; allowed is true or false",
        ),
        (
            "processes = 2",
            &[],
            "floodmark.toml:1: processes is more than 1: hosts must name a file with one HOST:PORT a line",
        ),
        (
            "process = 1",
            &[],
            "floodmark.toml:1: process is 1 of processes = 1: count from 0",
        ),
        (
            "input = []",
            &[],
            "floodmark.toml:1: input is empty: name at least one folder",
        ),
    ];
    for (file, environment, expect) in cases {
        assert_eq!(
            resolve(Some(file), environment, &[]).map(|_| ()),
            Err((*expect).to_owned()),
            "{file}"
        );
    }
    let error = resolve(Some("nonsense = 1"), &[], &[]).unwrap_err();
    assert_eq!(error.matches("daemon").count(), 1, "{error}");
    let error = resolve(Some("a = 1\nb ="), &[], &[]).unwrap_err();
    assert!(error.starts_with("floodmark.toml:2: not TOML: "), "{error}");
}

#[test]
fn a_wrong_value_is_named_even_where_a_stronger_layer_covers_it() {
    let error = resolve(Some("workers = \"many\""), &[], &[("workers", "2")]).unwrap_err();
    assert!(error.starts_with("floodmark.toml:1: workers"), "{error}");
}

#[test]
fn variables_that_a_cluster_makes_for_a_service_are_passed_over() {
    let environment: &[_] = &[
        ("FLOODMARK_SERVICE_HOST", "10.0.0.1"),
        ("FLOODMARK_PORT_80_TCP", "tcp://10.0.0.1:80"),
    ];
    resolve(None, environment, &[]).unwrap();
}

#[test]
fn paths_of_the_file_are_beside_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("settings.toml");
    std::fs::write(&path, "input = [\"notes\", \"/srv/notes\"]\n").unwrap();
    let config = Layers {
        config: Some(path.clone()),
        ..Layers::default()
    }
    .resolve()
    .unwrap();
    assert_eq!(
        config.input,
        [folder.path().join("notes"), PathBuf::from("/srv/notes")]
    );
    assert_eq!(
        config.state,
        PathBuf::from(".floodmark"),
        "defaults stay relative to the current folder"
    );
    std::fs::write(&path, "workers = 7\n").unwrap();
    assert_eq!(config.reload().unwrap().workers, 7);
    std::fs::remove_file(&path).unwrap();
    let error = config.reload().unwrap_err().to_string();
    assert!(
        error.contains("settings.toml"),
        "a file that was named must exist: {error}"
    );
}

#[test]
fn flags_survive_the_way_to_another_process() {
    let config = resolve(
        None,
        &[],
        &[
            ("input", "a b"),
            ("input", "-c"),
            ("workers", "1"),
            ("workers", "2"),
        ],
    )
    .unwrap();
    assert_eq!(
        config.flags().to_arguments(),
        ["--input=a b", "--input=-c", "--workers=2"]
    );
}

#[test]
fn no_two_settings_share_a_name() {
    let names: BTreeSet<&str> = keys().map(|key| key.name).collect();
    assert_eq!(names.len(), keys().count());
    let shorts: Vec<char> = keys().filter_map(|key| key.short).collect();
    assert_eq!(shorts.iter().collect::<BTreeSet<_>>().len(), shorts.len());
    assert!(keys().all(|key| key.name != "config"));
}

#[test]
fn the_page_is_the_table() {
    let page = std::fs::read_to_string("docs/configuration.md").unwrap();
    assert_eq!(
        page,
        reference(),
        "write it anew: floodmark reference > docs/configuration.md"
    );
    let toml = page.split("```").nth(1).unwrap().trim_start_matches("toml");
    let config = resolve(Some(toml), &[], &[]).unwrap();
    for key in keys().filter(|key| !key.default.is_empty() || key.many) {
        assert!(
            matches!(config.origin(key.name), Some(Origin::File(..))),
            "{} is missing in the complete file",
            key.name
        );
    }
}
