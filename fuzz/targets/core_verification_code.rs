//! Fuzz target of [`emptyroom_core::fuzz::fuzz_verification_code`].
#![cfg_attr(fuzzing, no_main)]

emptyroom_fuzz::target!(emptyroom_core::fuzz::fuzz_verification_code);
