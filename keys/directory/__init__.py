"""The directory: members' keys, officers and policies, and what may be believed of them."""
