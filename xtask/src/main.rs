//! Every habit of the project, one file a subcommand.

fn main() {}
