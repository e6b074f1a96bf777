//! The whole in one sentence: what is not up, by name.

use std::fmt;

use super::escape::Text;
use crate::report::{ReportEntry, Status};

/// More names than that are counted.
const NAMED: usize = 5;

/// The sentence, its names being links to their rows.
pub(super) struct Summary<'a>(pub(super) &'a [ReportEntry]);

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let asked = (0..).zip(self.0).filter(|(_, entry)| !entry.is_excluded());
        let count = asked.clone().count();
        let others: Vec<(usize, &ReportEntry)> = asked
            .filter(|(_, entry)| entry.status != Status::Up)
            .collect();
        match (count, others.len()) {
            (0, _) => return f.write_str("Nothing is checked."),
            (1, 0) => return f.write_str("The one dependency is up."),
            (2, 0) => return f.write_str("Both dependencies are up."),
            (_, 0) => return write!(f, "All {count} dependencies are up."),
            _ => {}
        }
        for (place, (number, entry)) in (0..).zip(others.iter().take(NAMED)) {
            let separator = if place == 0 { "" } else { ", " };
            let optional = if entry.required { "" } else { " (optional)" };
            write!(
                f,
                r##"{separator}<a href="#d{number}">{}</a>{optional} is {}"##,
                Text(&entry.name),
                entry.status
            )?;
        }
        if others.len() > NAMED {
            write!(f, " and {} more", others.len() - NAMED)?;
        }
        write!(f, "; {} of {count} up.", count - others.len())
    }
}
