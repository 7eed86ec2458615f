//! The one integration binary: what keyward promises, each promise in the file that bears its name.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "in a test a panic is the report")]

mod admin;
mod api;
mod audit;
mod clients;
mod command_line;
mod crowds;
mod curl_pages;
mod demo;
mod described;
mod desync;
mod dialects;
mod elsewhere;

mod floods;
mod floors;
mod gateway;
mod httpbin;
mod import_page;
mod key_ends;
mod leaks;
mod limits_page;
mod load_test;
mod memory;
mod outage;
mod postgres;
mod probe;
mod readme;
mod receipts;
mod reload;
mod replicas;
mod rotations;
mod scoping_page;
mod self_service;
mod settings;
mod shutdown;
mod slow;
mod support;
mod testssl;
mod threat_model;
mod tokens_page;
mod trouble;
mod under_load;
mod upgrades;
