"""What people say of detections becomes chips to learn from."""
