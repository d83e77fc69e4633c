//! Fuzz target of [`emptyroom_node::fuzz::fuzz_area`].
#![cfg_attr(fuzzing, no_main)]

emptyroom_fuzz::target!(emptyroom_node::fuzz::fuzz_area);
