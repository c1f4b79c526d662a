"""The tests that every kernel under test is put to."""
