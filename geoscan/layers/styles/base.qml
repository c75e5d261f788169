<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>
<!-- {{ mark }} -->
<qgis version="3.22.0" styleCategories="Symbology|Labeling|Fields|Forms|MapTips|Rendering" labelsEnabled="{% block labelled %}0{% endblock %}" {% block scales %}hasScaleBasedVisibilityFlag="0"{% endblock %}>
{% block look %}{% endblock %}
  <fieldConfiguration>
{% for name in fields %}
    <field name="{{ name }}" configurationFlags="None">
{% if name == "review" %}
      <editWidget type="ValueMap">
        <config>
          <Option type="Map">
            <Option name="map" type="List">
{% for value, words in reviews.items() %}
              <Option type="Map"><Option name="{{ words }}" type="QString" value="{{ value }}"/></Option>
{% endfor %}
            </Option>
          </Option>
        </config>
      </editWidget>
{% else %}
      <editWidget type=""><config><Option/></config></editWidget>
{% endif %}
    </field>
{% endfor %}
  </fieldConfiguration>
  <aliases>
{% for name, one in fields.items() %}
    <alias field="{{ name }}" name="{{ one.alias }}"/>
{% endfor %}
  </aliases>
  <mapTip>{% filter forceescape %}{% block tip %}{% endblock %}{% endfilter %}</mapTip>
</qgis>
