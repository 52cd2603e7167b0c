//! Counts files by format while files come and go.
//!
//! ```text
//! cargo run -p floodmark-operators --example count_by
//! ```

mod count_by;

use count_by::count_by;
use differential_dataflow::input::InputSession;

fn main() {
    timely::execute_directly(|worker| {
        let mut files = InputSession::new();
        worker.dataflow(|scope| {
            count_by(files.to_collection(scope), |(_name, format)| format).inspect(
                |((format, count), epoch, diff)| println!("{epoch}  {diff:+}  {format} × {count}"),
            );
        });
        files.insert(file("tides.md", "markdown"));
        files.insert(file("gauges.csv", "csv"));
        files.insert(file("storm.md", "markdown"));
        files.advance_to(1);
        files.remove(file("tides.md", "markdown")); // one less
        files.insert(file("tides.html", "html"));
        files.advance_to(2);
        files.remove(file("gauges.csv", "csv")); // the last one: the kind is gone
    });
}

fn file(name: &str, format: &str) -> (String, String) {
    (name.into(), format.into())
}
