//! The option `--hierarchy`.

use super::{
    arguments::{HierarchyOption, HistoryOption},
    stderr::print,
    text,
};

/// The hierarchy in question. A controller of v2 is v2: on v2 all controllers share one hierarchy.
pub fn of_option(option: &HierarchyOption) -> Option<String> {
    let word = option.name.as_deref()?;
    if !cgtrace_why::is_v2_controller(word) {
        return Some(word.to_owned());
    }
    let name = text::escape(word);
    print(format!(
        "cgtrace: note: {name} is a controller of v2, so the answer is that of v2; whether a cgroup has the controller: \
         cgtrace why PATH -H {name}"
    ));
    Some("v2".to_owned())
}

/// Like [`of_option`], except for a history that may be of another machine.
pub fn of_options(option: &HierarchyOption, history: &HistoryOption) -> Option<String> {
    if history.folder.is_some() { option.name.clone() } else { of_option(option) }
}
