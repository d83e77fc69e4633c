//! Fuzz target of [`emptyroom_core::fuzz::fuzz_mls_message`].
#![cfg_attr(fuzzing, no_main)]

emptyroom_fuzz::target!(emptyroom_core::fuzz::fuzz_mls_message);
