//! The `cgtrace` binary: daemon and command line.

fn main() -> std::process::ExitCode {
    cgtrace::cli::run()
}
