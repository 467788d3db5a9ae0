"""The pages: each is a module whose ``show`` builds it and keeps it up to date."""
