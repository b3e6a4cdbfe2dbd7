"""What has to do with no mathematics: files, random arrays, promotion of dtypes. Not public."""
