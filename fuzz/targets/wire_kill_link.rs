//! Fuzz target of [`emptyroom_wire::fuzz::fuzz_kill_link`].
#![cfg_attr(fuzzing, no_main)]

emptyroom_fuzz::target!(emptyroom_wire::fuzz::fuzz_kill_link);
