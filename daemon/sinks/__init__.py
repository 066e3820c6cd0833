"""Who is told the news."""
