"""Every reply that was ever paid for, stored before it is used, and what it cost."""
