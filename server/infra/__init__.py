"""Infrastructure: database, clock, secrets, keys. It has no opinion about OAuth."""
