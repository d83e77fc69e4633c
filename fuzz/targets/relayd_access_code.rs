//! Fuzz target of [`emptyroom_relayd::fuzz::fuzz_access_code`].
#![cfg_attr(fuzzing, no_main)]

emptyroom_fuzz::target!(emptyroom_relayd::fuzz::fuzz_access_code);
