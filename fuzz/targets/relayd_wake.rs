//! Fuzz target of [`emptyroom_relayd::fuzz::fuzz_wake`].
#![cfg_attr(fuzzing, no_main)]

emptyroom_fuzz::target!(emptyroom_relayd::fuzz::fuzz_wake);
