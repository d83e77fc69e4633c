//! Fuzz target of [`emptyroom_core::fuzz::fuzz_vault_records`].
#![cfg_attr(fuzzing, no_main)]

emptyroom_fuzz::target!(emptyroom_core::fuzz::fuzz_vault_records);
