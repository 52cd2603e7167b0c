//! A folder of its own for each test, and the program called in it as a person would.

// Each test binary has a copy of this module, and none needs all of it.
#![allow(dead_code)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// A folder of its own, with no settings but those of the test. A run that a test left behind ends with it.
pub struct Place(tempfile::TempDir);

impl Drop for Place {
    fn drop(&mut self) {
        let _ = self.command(&["stop"]).output();
    }
}

impl Place {
    /// With files in `raw/`.
    pub fn with(files: &[(&str, &str)]) -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        std::fs::create_dir(place.path("raw")).unwrap();
        std::fs::write(place.path("floodmark.toml"), "input = [\"raw\"]\n").unwrap();
        for (name, text) in files {
            place.write(name, text);
        }
        place
    }

    pub fn path(&self, below: impl AsRef<Path>) -> PathBuf {
        self.0.path().join(below)
    }

    /// Writes `raw/NAME`.
    pub fn write(&self, name: &str, text: &str) {
        let path = self.path("raw").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_floodmark"));
        command
            .args(arguments)
            .current_dir(self.0.path())
            .stdin(Stdio::null());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("FLOODMARK_") {
                command.env_remove(name);
            }
        }
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Standard output of a command that ends with `status`.
    #[track_caller]
    pub fn says(&self, arguments: &[&str], status: i32) -> String {
        let output = self.run(arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        let out = String::from_utf8(output.stdout).unwrap();
        assert_eq!(
            output.status.code(),
            Some(status),
            "{arguments:?}\n{out}\n{said}"
        );
        out
    }

    /// The same with `--json`.
    #[track_caller]
    pub fn json(&self, arguments: &[&str], status: i32) -> Value {
        let out = self.says(&[arguments, &["--json"]].concat(), status);
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"))
    }

    /// What the run in the background has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path(".floodmark/floodmark.log")).unwrap_or_default()
    }
}

/// Looks again until it is so.
#[track_caller]
pub fn wait_until(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !so() {
        assert!(Instant::now() < deadline, "never came true: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
