"""The provider's batch files: cheaper replies within hours, behind the same ledger."""
