"""What campaigns on many machines have found: small JSON files that are only ever added."""
