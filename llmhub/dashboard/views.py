from rest_framework.views import APIView


class StatusView(APIView):
    pass
