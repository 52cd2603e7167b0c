//! A historical folder, in the order in which it came to be.

use std::ops::ControlFlow;

use super::{Found, ScanReport, Scope, Selection, scan};

/// Every selected file, oldest modification first, ties by root and path; and what could not be looked at.
pub fn replay(selection: &Selection) -> (Vec<Found>, ScanReport) {
    let mut files = Vec::new();
    let report = scan(selection, None, &Scope::All, &mut |found| {
        files.push(found);
        ControlFlow::Continue(())
    });
    files.sort_by(|a, b| {
        let order = |f: &Found| (f.identity.mtime_ns, f.root);
        order(a)
            .cmp(&order(b))
            .then_with(|| a.path.as_os_str().cmp(b.path.as_os_str()))
    });
    (files, report)
}
