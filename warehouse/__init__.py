"""The ground floor: schema, typed access, identity, journal and shared plumbing. Imports no other folder of ours."""
