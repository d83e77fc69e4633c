//! Fuzz target of [`emptyroom_vault::fuzz::fuzz_outside`].
#![cfg_attr(fuzzing, no_main)]

emptyroom_fuzz::target!(emptyroom_vault::fuzz::fuzz_outside);
