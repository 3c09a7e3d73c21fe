//! `top --once`: the tree as text, once.

use super::{
    model::{Model, Tree},
    processes::{Counter, Request},
    view::{Cells, Columns, width},
};
use crate::cli::{Outcome, failure::Failure, output::Output};

/// Prints every hierarchy, as of a time in ns since boot.
pub fn print(model: &mut Model, now: u64, output: &mut Output) -> Result<Outcome, Failure> {
    let mut counter = Counter::default();
    for (hierarchy, tree) in &mut model.trees {
        let cgroups = tree.ids().filter_map(|id| Some((id, tree.get(id)?.path.clone()))).collect();
        let counts = counter.count(&Request { hierarchy: *hierarchy, cgroups });
        for (id, processes) in counts.counts {
            tree.set_processes(id, processes);
        }
    }
    let mut is_first = true;
    for tree in model.trees.values().filter(|tree| tree.present() > 0) {
        if !is_first {
            output.line("")?;
        }
        is_first = false;
        print_tree(tree, now, output)?;
    }
    Ok(if is_first { Outcome::No } else { Outcome::Yes })
}

fn print_tree(tree: &Tree, now: u64, output: &mut Output) -> Result<(), Failure> {
    let cells = |id: u64| Some(Cells::of(tree, id, tree.get(id)?, now));
    let rows = || std::iter::successors(tree.first(), |id| tree.next(*id)).filter_map(cells);
    let columns = match output.width {
        Some(width) => Columns::fit(width, tree.order()),
        None => {
            let widest = rows().map(|cells| 2 * cells.depth + 2 + width(&cells.name)).max().unwrap_or(0);
            // Half of the column is for the indentation, at most.
            let deepest = rows().map(|cells| 4 * cells.depth).max().unwrap_or(0);
            Columns::with_name(widest.max(deepest).max(8), tree.order())
        }
    };
    let cgroups = if tree.present() == 1 { "cgroup" } else { "cgroups" };
    output.line(format!("{}: {} {cgroups}", tree.name, tree.present()))?;
    output.line(columns.headings().trim_end())?;
    rows().try_for_each(|cells| output.line(columns.row(&cells).trim_end()))
}
