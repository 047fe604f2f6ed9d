create schema findings;
