//! What means nothing ends at once, with a status and a reason; and whose word counts.

use super::{Place, refuses, stderr};

#[test]
fn a_command_line_that_means_nothing_ends_with_78() {
    let place = Place::new();
    refuses(&place.run(&["--wrokers", "2"]), 78, "--workers");
    refuses(&place.run(&["serach", "tide"]), 78, "search");
    refuses(&place.run(&["search"]), 78, "QUERY");
    refuses(&place.run(&["search", "tide", "--once"]), 78, "--once");
    refuses(
        &place.run(&["--once", "search", "tide"]),
        78,
        "--once means nothing to this command",
    );
    refuses(&place.run(&["dead"]), 78, "list");
    refuses(
        &place.run(&["--workers", "0"]),
        78,
        "flag --workers: workers can't be \"0\"; allowed is a whole number from 1",
    );
    refuses(&place.run(&["--device", "gpu"]), 78, "cuda");
    refuses(
        &place.run(&["search", "tide", "-k", "-1"]),
        78,
        "flag --hits",
    );
    refuses(&place.run(&["--log", "inof"]), 78, "allowed is a level");
}

#[test]
fn a_bad_configuration_ends_with_78_and_names_its_place() {
    let place = Place::new();
    std::fs::write(
        place.path().join("floodmark.toml"),
        "state = \"here\"\n\n[chunks]\nmax-tokns = 3\n",
    )
    .unwrap();
    refuses(
        &place.run(&["status"]),
        78,
        "floodmark.toml:4: there is no setting \"[chunks] max-tokns\"; did you mean max-tokens?",
    );
    refuses(
        &place.run(&["status", "--config", "none.toml"]),
        78,
        "none.toml",
    );
    std::fs::write(place.path().join("good.toml"), "workers = 2\n").unwrap();
    let typo = place
        .command(&["status", "--config", "good.toml"])
        .env("FLOODMARK_WORKRES", "2")
        .output()
        .unwrap();
    refuses(&typo, 78, "did you mean FLOODMARK_WORKERS?");
    let help = place.run(&["man"]);
    assert!(
        help.status.success(),
        "a bad file keeps nobody from the manual: {}",
        stderr(&help)
    );
}

#[test]
fn a_flag_is_stronger_than_the_environment_and_that_than_the_file() {
    let place = Place::new();
    let file = Some("state = \"of-file\"\n");
    let flag: &[&str] = &["--state", "of-flag"];
    for (file, environment, flags, expect) in [
        (None, None, &[][..], ".floodmark"),
        (file, None, &[], "of-file"),
        (file, Some("of-environment"), &[], "of-environment"),
        (file, Some("of-environment"), flag, "of-flag"),
        (None, None, flag, "of-flag"),
    ] {
        let path = place.path().join("floodmark.toml");
        match file {
            Some(text) => std::fs::write(&path, text).unwrap(),
            None => drop(std::fs::remove_file(&path)),
        }
        // The same before and after the command.
        for arguments in [[&["status"], flags].concat(), [flags, &["status"]].concat()] {
            let mut command = place.command(&arguments);
            command.envs(environment.map(|state| ("FLOODMARK_STATE", state)));
            refuses(
                &command.output().unwrap(),
                2,
                &format!("no index in {expect}:"),
            );
        }
    }
}

#[test]
fn a_question_about_no_index_could_not_be_looked_at() {
    let place = Place::new();
    for arguments in [
        &["search", "tide"][..],
        &["status"],
        &["verify"],
        &["export"],
        &["dead", "list"],
        &["explain", "a.md"],
    ] {
        refuses(
            &place.run(arguments),
            2,
            "there is no index in .floodmark: `floodmark run` makes one",
        );
    }
    assert_eq!(
        std::fs::read_dir(place.path()).unwrap().count(),
        0,
        "a question makes no folder"
    );
}
