//! Fuzz target of [`emptyroom_wire::fuzz::fuzz_opening_answer`].
#![cfg_attr(fuzzing, no_main)]

emptyroom_fuzz::target!(emptyroom_wire::fuzz::fuzz_opening_answer);
