//! Which tests were skipped in which machines, and why.

use std::collections::BTreeMap;

/// Parses `skipped NAME: WHY`, as a test prints it. The harness may have started a line for another test
/// before it.
fn skipped(line: &str) -> Option<(String, String)> {
    let (_, rest) = line.split_once("skipped ")?;
    let (name, why) = rest.split_once(": ").filter(|(name, _)| name.contains("::") && !name.contains(' '))?;
    Some((name.to_owned(), why.trim().to_owned()))
}

/// The skipped tests of all machines: one row per test and reason, with the machines.
#[derive(Debug, Default)]
pub struct Skips {
    /// The kernels that ran, by mode.
    ran: BTreeMap<&'static str, Vec<String>>,
    /// Machines by test and reason.
    rows: BTreeMap<(String, String), Vec<(String, &'static str)>>,
}

impl Skips {
    /// Adds the console output of a machine.
    pub fn add(&mut self, kernel: &str, mode: &'static str, console: &str) {
        self.ran.entry(mode).or_default().push(kernel.to_owned());
        for row in console.lines().filter_map(skipped) {
            let places = self.rows.entry(row).or_default();
            let place = (kernel.to_owned(), mode);
            if !places.contains(&place) {
                places.push(place);
            }
        }
    }

    /// The table in Markdown.
    pub fn markdown(&self) -> String {
        let mut text = "| skipped test | where | why |\n| --- | --- | --- |\n".to_owned();
        for ((name, why), places) in &self.rows {
            text.push_str(&format!(
                "| `{name}` | {} | {} |\n",
                self.summary(places),
                why.replace('|', "\\|")
            ));
        }
        text
    }

    /// A short list of machines: a mode alone means every kernel that ran in it.
    fn summary(&self, places: &[(String, &'static str)]) -> String {
        let mut words = Vec::new();
        for (mode, ran) in &self.ran {
            let kernels: Vec<&str> =
                places.iter().filter(|(_, of)| of == mode).map(|(kernel, _)| &**kernel).collect();
            if kernels.len() == ran.len() {
                words.push((*mode).to_owned());
            } else if !kernels.is_empty() {
                words.push(format!("{mode} on {}", kernels.join(", ")));
            }
        }
        words.join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_reason_on_several_machines_is_one_row() {
        let mut skips = Skips::default();
        let no_v2 = "skipped traps::a: no `v2` hierarchy is mounted here\ntest traps::a ... ignored\n";
        skips.add("5.10", "v1", no_v2);
        skips.add("6.1", "v1", no_v2);
        skips.add("5.10", "v2", "test traps::c ... skipped traps::b: too old\n3 skipped in all: x\n");
        skips.add("6.1", "v2", "");
        let text = skips.markdown();
        assert!(text.contains("| `traps::a` | v1 | no `v2` hierarchy is mounted here |"), "{text}");
        assert!(text.contains("| `traps::b` | v2 on 5.10 | too old |"), "{text}");
    }
}
