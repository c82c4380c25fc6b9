"""The backend of products that sell AI images and videos for prepaid credits."""
