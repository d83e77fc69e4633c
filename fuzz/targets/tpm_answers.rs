//! Fuzz target of [`emptyroom_tpm::fuzz::fuzz_answers`].
#![cfg_attr(fuzzing, no_main)]

emptyroom_fuzz::target!(emptyroom_tpm::fuzz::fuzz_answers);
