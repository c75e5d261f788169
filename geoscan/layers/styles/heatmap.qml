<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>
<!-- {{ mark }} -->
<qgis version="3.22" styleCategories="Symbology"><pipe>
<rasterrenderer type="singlebandpseudocolor" band="1" opacity="1" classificationMin="0" classificationMax="1">
<rastershader><colorrampshader colorRampType="INTERPOLATED" classificationMode="1" clip="0">
{% for score, colour in stops %}
<item value="{{ score }}" label="{{ score }}" alpha="255" color="{{ colour }}"/>
{% endfor %}
</colorrampshader></rastershader></rasterrenderer></pipe></qgis>
