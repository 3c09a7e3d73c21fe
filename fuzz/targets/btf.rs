//! The parser of the kernel's BTF.
#![no_main]

use cgtrace::daemon::probe::Btf;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Ok(btf) = Btf::parse(input) {
        for (structure, path) in
            [("cgroup", "self.parent"), ("cgroup", "kn"), ("s", "a"), ("s", "a.b"), ("", "")]
        {
            let _ = btf.member(structure, path);
        }
        for name in ["cgroup_subsys_id", "e", ""] {
            let _ = btf.enumeration(name);
        }
    }
});
