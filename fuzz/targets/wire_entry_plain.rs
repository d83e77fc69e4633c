//! Fuzz target of [`emptyroom_wire::fuzz::fuzz_entry_plain`].
#![cfg_attr(fuzzing, no_main)]

emptyroom_fuzz::target!(emptyroom_wire::fuzz::fuzz_entry_plain);
